"""Training from scratch with the network, images and epochs of vit-tiny-pgd-at_16e_fashion-mnist.py: its baseline.

Run:       python tools/train.py configs/demo/vit-tiny-pgd-at-scratch_16e_fashion-mnist.py
Needs:     a CPU, and 90 seconds on one core
Expected:  see docs/robustness.md
"""

_base_ = './vit-tiny-scratch_16e_fashion-mnist.py'

model = dict(type='AdversarialClassifier', loss='pgd_at', eps=8, steps=3)
