"""Linear probing of an encoder of the drawings, 16 epochs of LARS.

Run:       python tools/train.py configs/demo/vit-tiny-linear_16e_openclipart.py
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as vit-tiny_16e_openclipart.py
Expected:  about the linear probe of tools/analysis_tools/probe.py
"""

_base_ = ['../_base_/study_openclipart_classifier.py', '../_base_/demo_runtime.py']

model = dict(backbone=dict(frozen_stages=4))
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='LARS', lr=40.0, weight_decay=0.0, momentum=0.9)
)
train_cfg = dict(val_interval=16)
