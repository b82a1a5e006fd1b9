"""AEMIM on MAE, a tiny ViT, the embedded part of Fashion-MNIST, 16 epochs: the job of `make demo`.

Run:       python tools/train.py configs/demo/aemim_vit-tiny_16e_fashion-mnist.py
Needs:     nothing but a CPU: 5 minutes on one core
Expected:  linear probe 80.2, 20-NN 72.9 (untrained 73.9, 67.7), by tools/analysis_tools/probe.py (one seed, +-0.9)
"""

_base_ = ['../_base_/demo_vit.py', '../_base_/demo_fashion_mnist.py', '../_base_/demo_runtime.py']

model = dict(
    type='AEMIM',
    backbone=dict(type='AEMIMViT'),
    neck=dict(type='AEMIMDecoder', img_size=28),
    head=dict(type='AEMIMHead'),
    data_preprocessor=dict(type='AdvDataPreprocessor', eps=2, steps=2),
)
