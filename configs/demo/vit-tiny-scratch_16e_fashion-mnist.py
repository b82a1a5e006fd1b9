"""The same network, images and epochs as vit-tiny_16e_fashion-mnist.py, from scratch: to compare with.

Run:       python tools/train.py configs/demo/vit-tiny-scratch_16e_fashion-mnist.py
Needs:     nothing but a CPU: 20 seconds on 2 cores
Expected:  71.6 top-1 (three seeds)

Layer decay holds early layers back, which only makes sense where they have learned something: here there is none. The
rate is the best of 5e-4, 1e-3 and 2e-3; see docs/transfer.md.
"""

_base_ = './vit-tiny_16e_fashion-mnist.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
