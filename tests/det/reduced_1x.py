"""mask-rcnn_vitdet-b_1x_coco.py with a small network, for images of 128 pixels."""

_base_ = '../../configs/benchmarks/coco/mask-rcnn_vitdet-b_1x_coco.py'

size = (128, 128)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline), **loader)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline), **loader)
test_dataloader = val_dataloader

arch = dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512, global_attn_indexes=[1, 3])
model = dict(
    backbone=dict(arch=dict(_delete_=True, **arch), img_size=128, window_size=4, drop_path_rate=0.0),
    neck=dict(in_channels=128, out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, num_convs=1),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(in_channels=64, conv_out_channels=32, fc_out_channels=128),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64, num_convs=2),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=200, max_per_img=100), rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=50), rcnn=dict(max_per_img=20)),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
train_cfg = dict(val_interval=12)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=12))

# The mask AP50 differs by several points between seeds. Tests that compare runs set the seed.
randomness = dict(seed=1)
