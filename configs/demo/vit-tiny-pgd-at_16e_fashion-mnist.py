"""Robust fine-tuning of the demo's encoder: adversarial training by PGD (PGD-AT) with 500 labelled images, 16 epochs.

Run:       python tools/train.py configs/demo/vit-tiny-pgd-at_16e_fashion-mnist.py
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
           by TRADES: --cfg-options model.loss=trades
Needs:     a checkpoint of a pre-training in this folder, by default that of `make demo`; 90 seconds on one core
Expected:  see docs/robustness.md
"""

_base_ = './vit-tiny_16e_fashion-mnist.py'

model = dict(type='AdversarialClassifier', loss='pgd_at', eps=8, steps=3)
