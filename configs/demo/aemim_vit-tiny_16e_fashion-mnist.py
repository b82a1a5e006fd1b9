"""AEMIM on MAE, a tiny ViT, the embedded part of Fashion-MNIST, 16 epochs: the job of `make demo`.

Run:       python tools/train.py configs/demo/aemim_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU, and 3 to 5 minutes on one core
Expected:  linear probe and 20-NN as AEMIM's in results/demo.json, by tools/analysis_tools/probe.py
"""

_base_ = ['../_base_/demo_vit.py', '../_base_/demo_fashion_mnist.py', '../_base_/demo_runtime.py']

model = dict(
    type='AEMIM',
    backbone=dict(type='AEMIMViT'),
    neck=dict(type='AEMIMDecoder', img_size=28),
    head=dict(type='AEMIMHead'),
    data_preprocessor=dict(type='AdvDataPreprocessor', eps=2, steps=2),
)
