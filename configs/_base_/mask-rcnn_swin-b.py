"""Mask R-CNN on a Swin-B encoder of 192 pixels with windows of 6, and its optimizer, for all schedules."""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['aemim_mm', 'aemim_mm.det'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        # Not mmdet's, whose parameters have other names.
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=192,
        stage_cfgs=dict(block_cfgs=dict(window_size=6)),
        pad_small_map=True,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone.'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)

# Each config replaces the SGD of mmdet's schedules by this optimizer.
swin_optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='BackboneLayerDecayConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=0.9,
        norm_decay_mult=0.0,
        custom_keys={'relative_position_bias_table': dict(decay_mult=0.0)},
    ),
)
