"""MAE, to compare with: the same network, data and epochs as aemim_vit-tiny_16e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/mae_vit-tiny_16e_fashion-mnist.py
Needs:     nothing but a CPU: 2 minutes on one core
Expected:  linear probe 79.4, 20-NN 74.1 (untrained 73.9, 67.7), by tools/analysis_tools/probe.py (one seed, +-0.9)
"""

_base_ = ['../_base_/demo_vit.py', '../_base_/demo_fashion_mnist.py', '../_base_/demo_runtime.py']

model = dict(
    type='MAE',
    backbone=dict(type='MAEViT'),
    neck=dict(type='MAEPretrainDecoder', num_patches=16),
    head=dict(type='MAEPretrainHead'),
    data_preprocessor=dict(type='SelfSupDataPreprocessor'),
)
