"""Study: what the presets cost in accuracy against the method of the paper, and MAE at the same epochs.

Run:       python tools/study.py configs/studies/presets.py
Needs:     a CPU, and about 100 minutes on 2 cores
Expected:  as in docs/performance.md

The network, the 4,000 images and the 16 epochs are the demo's. After each pre-training: linear probe and 20-NN of the
frozen encoder (5,000 training and 2,000 test images); fine-tuning with 500 labels (2,000 test images); the fine-tuned
network under FGSM, PGD, and the 15 corruptions of ImageNet-C at severity 3, on a fixed sample of the test images.
"""

_aemim = '../demo/aemim_vit-tiny_16e_fashion-mnist.py'
_mae = '../demo/mae_vit-tiny_16e_fashion-mnist.py'
# MAE on the same encoder and decoder as AEMIM, without adapters.
_our_parts = [
    'model.backbone.type=AEMIMViT',
    'model.backbone.adapters=()',
    'model.neck.type=AEMIMDecoder',
    'model.neck.img_size=28',
    'model.head.type=AEMIMHead',
]
_one_step = ['model.data_preprocessor.steps=1', 'model.data_preprocessor.step_size=2.5']
_half, _third = 'model.neck.decode_share=0.5', f'model.neck.decode_share={1 / 3}'
_partial = [*_our_parts, 'model.type=PartialMAE']

# This encoder has 4 layers, and the presets' has 12: a half or a third of them, rounded up.
methods = {
    'exact': dict(config=_aemim),
    'balanced': dict(config=_aemim, options=[*_one_step, 'model.adv_share=0.5', 'model.attack_layers=2', _half]),
    'fast': dict(config=_aemim, options=[*_one_step, 'model.adv_share=0.25', 'model.attack_layers=2', _third]),
    'mae': dict(config=_mae, options=_our_parts),
    'mae-balanced': dict(config=_mae, options=[*_partial, _half]),
    'mae-fast': dict(config=_mae, options=[*_partial, _third]),
}
baseline = 'exact'
seeds = list(range(8))
# Changes of all pre-trainings.
options = []
fine_tuning = dict(config='../demo/vit-tiny_16e_fashion-mnist.py')
# Test images for attacks and corruptions.
attacked_images = 500
# The measure that decides; the paper reports fine-tuned accuracy.
primary = 'fine_tuned'
