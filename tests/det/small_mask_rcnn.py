"""Mask R-CNN with a narrow ResNet of three stages, for images of 64 pixels that are enlarged to 80 and padded to 96."""

_base_ = './reduced_1x.py'

size = (80, 80)
load = dict(type='LoadImageFromFile')
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
pack = dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
train_pipeline = [load, annotations, dict(type='Resize', scale=size, keep_ratio=True), dict(type='PackDetInputs')]
# As in mmdet, the annotations are not resized.
test_pipeline = [load, dict(type='Resize', scale=size, keep_ratio=True), annotations, pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

strides = [4, 8, 16]
three = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(0, 1, 2))
backbone = dict(type='ResNet', depth=18, base_channels=16, norm_eval=False, **three)
head = dict(num_classes=3, in_channels=16)
extractor = dict(out_channels=16, featmap_strides=strides)
model = dict(
    backbone=dict(_delete_=True, **backbone),
    neck=dict(_delete_=True, type='FPN', in_channels=[16, 32, 64], out_channels=16, num_outs=3),
    rpn_head=dict(in_channels=16, feat_channels=16, num_convs=1, anchor_generator=dict(scales=[5], strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=extractor,
        bbox_head=dict(_delete_=True, type='Shared2FCBBoxHead', fc_out_channels=64, reg_class_agnostic=True, **head),
        mask_roi_extractor=dict(roi_layer=dict(output_size=7), **extractor),
        mask_head=dict(conv_out_channels=16, num_convs=1, **head),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=100, max_per_img=30),
        rcnn=dict(sampler=dict(num=16), mask_size=14),
    ),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=30)),
)
