"""Mask R-CNN on a Swin-B encoder of AESimMIM or SimMIM (192 pixels, windows of 6), COCO, 12 epochs at 1333 x 800.

Run:       tools/dist_train.sh configs/benchmarks/coco/mask-rcnn_swin-b_1x_coco.py 8 --data-root DIR
               --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as mask-rcnn_vitdet-b_1x_coco.py, with a checkpoint of configs/simmim/aesimmim_swin-b_800e.py or of
           configs/baselines/simmim_swin-b_800e.py. The detector keeps the window size of the checkpoint
Expected:  not measured here
"""

_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]

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

optim_wrapper = dict(
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

# Missing and broken images are skipped, counted and reported.
train_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
val_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
test_dataloader = val_dataloader
custom_hooks = [dict(type='UnreadableImagesHook')]
