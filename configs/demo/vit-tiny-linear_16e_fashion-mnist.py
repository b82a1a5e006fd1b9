"""Linear probing of the demo's encoder on the embedded Fashion-MNIST, 16 epochs of LARS.

Run:       python tools/train.py configs/demo/vit-tiny-linear_16e_fashion-mnist.py
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     a checkpoint of a pre-training in this folder, by default that of `make demo`; a minute on 2 cores
Expected:  about the linear probe of results/demo.json
"""

_base_ = ['../_base_/demo_classifier.py', '../_base_/demo_runtime.py']

model = dict(backbone=dict(frozen_stages=4))
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='LARS', lr=40.0, weight_decay=0.0, momentum=0.9)
)
train_cfg = dict(val_interval=16)
