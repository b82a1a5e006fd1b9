"""MAE with the network, data and epochs of aemim_vit-tiny_16e_openclipart.py: its baseline.

Run:       python tools/train.py configs/demo/mae_vit-tiny_16e_openclipart.py
Needs:     the drawings that tools/dataset_converters/openclipart.py prepares; a CPU, and 5 minutes on one core
Expected:  linear probe and 20-NN as MAE's in results/demo_openclipart.json, by tools/analysis_tools/probe.py
"""

_base_ = [
    '../_base_/study_openclipart_vit.py',
    '../_base_/study_openclipart.py',
    '../_base_/demo_runtime.py',
]

model = dict(
    type='MAE',
    backbone=dict(type='MAEViT'),
    neck=dict(type='MAEPretrainDecoder', num_patches=36),
    head=dict(type='MAEPretrainHead'),
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=()),
)
