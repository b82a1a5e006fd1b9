"""Study: does adversarial encoder tuning make the features of a MAE encoder stay under attack, and what is kept?

Run:       python tools/study.py configs/studies/encoder-tuning.py
Needs:     a CPU, and about an hour on 2 cores
Expected:  as in docs/robustness.md

The network, the images and the epochs are the demo's. After each training, a linear layer is trained on the frozen
encoder with 5,000 clean labelled images, and both are attacked through it. `features moved` is how far 20 steps of the
feature attack move the encoder's features, in percent of their length.
"""

_mae = '../demo/mae_vit-tiny_16e_fashion-mnist.py'

methods = {
    'mae': dict(config=_mae),
    'mae-tuned': dict(config=_mae, then=dict(config='../demo/encoder-tuning_vit-tiny_4e_fashion-mnist.py')),
}
baseline = 'mae'
seeds = list(range(8))
options = []
# The linear probe: the encoder is frozen.
fine_tuning = dict(
    config='../demo/vit-tiny-linear_16e_fashion-mnist.py',
    suites=['demo', 'encoder'],
    only=['pgd/*', '*/3', 'features/2', 'features/8'],
)
attacked_images = 500
primary = 'pgd_8'
