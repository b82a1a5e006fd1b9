"""Study: what the feature attack, the reconstruction attack and noise of the same size do, along a pre-training.

Run:       python tools/study.py configs/studies/attack-effects.py
Needs:     a CPU, and about an hour on 2 cores
Expected:  as in docs/evidence.md

The paper's first experiment. The network, the images and the epochs are the demo's. After epochs 1, 4 and 16, each
attack (20 steps) and noise act on 200 images, at eps 1 to 32: how far the features of the masked images move, and the
reconstruction loss.
"""

methods = {
    'mae': dict(config='../demo/mae_vit-tiny_16e_fashion-mnist.py'),
    'aemim': dict(config='../demo/aemim_vit-tiny_16e_fashion-mnist.py'),
}
baseline = 'mae'
seeds = list(range(8))
options = ['default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=-1']
fine_tuning = None
pretrained = dict(suites=['crossed'], epochs=[1, 4])
attacked_images = 200
primary = None
