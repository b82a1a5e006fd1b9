"""Training from scratch with the network, images and epochs of vit-tiny_16e_fashion-mnist.py: its baseline.

Run:       python tools/train.py configs/demo/vit-tiny-scratch_16e_fashion-mnist.py
Needs:     a CPU, and 20 seconds on 2 cores
Expected:  as in results/demo.json

There is no layer decay, which holds early layers back and so suits pre-trained layers only. The learning rate is the
best of 5e-4, 1e-3 and 2e-3.
"""

_base_ = './vit-tiny_16e_fashion-mnist.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
