"""Mask R-CNN on an AEMIM encoder (ViT-B/16), COCO, 12 epochs at 1333 x 800.

Run:       tools/dist_train.sh configs/benchmarks/coco/mask-rcnn_vitdet-b_1x_coco.py 8 --data-root DIR
               --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     COCO 2017, with DIR/annotations/instances_{train,val}2017.json and DIR/{train,val}2017/*.jpg; total batch
           size 16 (8 x 2); for another number of GPUs, add --auto-scale-lr. CKPT is any ViT-B/16 encoder of AEMIM or
           MAE. mmcv needs no compiled operators.
Expected:  44.3 AP box, 39.8 AP mask (paper, schedule not stated; not reproduced here)

For your own data in COCO's format, add --data-root DIR --classes a,b,c. To train from scratch, add
`--cfg-options model.backbone.init_cfg=None`.
"""

_base_ = [
    '../../_base_/mask-rcnn_vitdet-b.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
optim_wrapper = {{_base_.vitdet_optim_wrapper}}

# Missing and broken images are skipped, counted and reported.
train_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
val_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
test_dataloader = val_dataloader
custom_hooks = [dict(type='UnreadableImagesHook')]
