"""MAE with the network, data and epochs of aemim_vit-tiny_16e_fashion-mnist.py: its baseline.

Run:       python tools/train.py configs/demo/mae_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU, and 1 to 2 minutes on one core
Expected:  linear probe and 20-NN as MAE's in results/demo.json, by tools/analysis_tools/probe.py
"""

_base_ = ['../_base_/demo_vit.py', '../_base_/demo_fashion_mnist.py', '../_base_/demo_runtime.py']

model = dict(
    type='MAE',
    backbone=dict(type='MAEViT'),
    neck=dict(type='MAEPretrainDecoder', num_patches=16),
    head=dict(type='MAEPretrainHead'),
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=()),
)
