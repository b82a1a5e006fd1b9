"""Mask R-CNN on an AEMIM encoder (ViT-B/16), COCO, 100 epochs with large-scale jitter: the recipe of ViTDet.

Run:       tools/dist_train.sh configs/benchmarks/coco/mask-rcnn_vitdet-b_lsj-100e_coco.py 32 --data-root DIR
               --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     COCO 2017, total batch size 64 (32 x 2); for another batch size, add --auto-scale-lr.
           `--cfg-options model.backbone.with_cp=True` saves memory. The log counts 25 epochs of four passes over the
           data
Expected:  51.6 AP box, 45.9 AP mask with MAE's ViT-B of 1600 epochs (detectron2's ViTDet; not reproduced here)
"""

_base_ = ['../../_base_/mask-rcnn_vitdet-b.py', 'mmdet::common/lsj-100e_coco-instance.py']

image_size = (1024, 1024)
# Pads images and masks to one size.
batch_augments = [dict(type='BatchFixedSizePad', size=image_size, pad_mask=True)]
model = dict(data_preprocessor=dict(batch_augments=batch_augments))

# Test images have the size of training images: the long side is 1024.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# Missing and broken images are skipped, counted and reported.
train_dataloader = dict(dataset=dict(dataset=dict(type='SkippingCocoDataset')))
val_dataloader = dict(dataset=dict(type='SkippingCocoDataset', pipeline=test_pipeline))
test_dataloader = val_dataloader
custom_hooks = [dict(type='UnreadableImagesHook')]

optim_wrapper = {{_base_.vitdet_optim_wrapper}}
# 184,375 iterations of 64 images; steps at 163,889 and 177,546, as in ViTDet.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', begin=0, end=25, by_epoch=True, milestones=[22, 24], gamma=0.1),
]
