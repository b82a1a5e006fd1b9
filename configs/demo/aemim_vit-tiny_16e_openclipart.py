"""AEMIM on MAE, the demo's ViT, coloured drawings of openclipart-png, 16 epochs.

Run:       python tools/train.py configs/demo/aemim_vit-tiny_16e_openclipart.py
Needs:     the drawings that tools/dataset_converters/openclipart.py prepares; a CPU, and 10 minutes on one core
Expected:  no measured figure yet
"""

_base_ = [
    '../_base_/study_openclipart_vit.py',
    '../_base_/study_openclipart.py',
    '../_base_/demo_runtime.py',
]

model = dict(
    type='AEMIM',
    backbone=dict(type='AEMIMViT'),
    neck=dict(type='AEMIMDecoder', img_size=48),
    head=dict(type='AEMIMHead'),
    data_preprocessor=dict(type='AdvDataPreprocessor', eps=2, steps=2),
)
