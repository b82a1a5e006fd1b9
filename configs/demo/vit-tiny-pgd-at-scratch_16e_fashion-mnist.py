"""The same network, images and epochs as vit-tiny-pgd-at_16e_fashion-mnist.py, from scratch: to compare with.

Run:       python tools/train.py configs/demo/vit-tiny-pgd-at-scratch_16e_fashion-mnist.py
Needs:     nothing but a CPU: a minute and a half on one core
Expected:  70.3 top-1 on 300 test images, and 64.7 under PGD with eps 4; more in docs/robustness.md
"""

_base_ = './vit-tiny-scratch_16e_fashion-mnist.py'

model = dict(type='AdversarialClassifier', loss='pgd_at', eps=8, steps=3)
