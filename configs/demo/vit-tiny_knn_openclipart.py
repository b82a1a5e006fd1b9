"""Weighted 20-nearest-neighbour classification of the drawings by frozen features.

Run:       python tools/test.py configs/demo/vit-tiny_knn_openclipart.py CHECKPOINT
Needs:     the drawings, and a checkpoint of a pre-training on them
Expected:  the 20-NN of tools/analysis_tools/probe.py
"""

_base_ = ['../_base_/study_openclipart_classifier.py', '../_base_/demo_runtime.py']

model = dict(
    type='KNNClassifier',
    backbone=dict(out_type='featmap', final_norm=True, init_cfg=None),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=None,
)
train_dataloader = dict(drop_last=False, sampler=dict(shuffle=False), dataset=dict(pipeline={{_base_.test_pipeline}}))
custom_hooks = [dict(type='FeatureBankHook')]
