"""Mask R-CNN on an AEMIM encoder (ViT-B/16), COCO, 100 epochs with large-scale jitter: the recipe of ViTDet.

Run:       tools/dist_train.sh configs/benchmarks/coco/mask-rcnn_vitdet-b_lsj-100e_coco.py 32 --data-root DIR
               --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     COCO 2017, batch 64 in all (32 x 2). With another number of GPUs, or of images a GPU, add --auto-scale-lr;
           `--cfg-options model.backbone.with_cp=True` saves memory. The 100 epochs are logged as 25, each four times
           through the data
Expected:  51.6 AP box, 45.9 AP mask with MAE's ViT-B of 1600 epochs (detectron2's ViTDet; not reproduced here)
"""

_base_ = ['../../_base_/mask-rcnn_vitdet-b.py', 'mmdet::common/lsj-100e_coco-instance.py']

image_size = (1024, 1024)
# Crops are filled up to one size, in the images and in the masks.
batch_augments = [dict(type='BatchFixedSizePad', size=image_size, pad_mask=True)]
model = dict(data_preprocessor=dict(batch_augments=batch_augments))

# Images as they are seen in training: the long side is 1024.
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
