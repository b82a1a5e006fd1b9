"""Mask R-CNN on a Swin-B encoder of AESimMIM or SimMIM (192 pixels, windows of 6), COCO, 12 epochs at 1333 x 800.

Run:       tools/dist_train.sh configs/benchmarks/coco/mask-rcnn_swin-b_1x_coco.py 8 --data-root DIR
               --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as mask-rcnn_vitdet-b_1x_coco.py, with a checkpoint of configs/simmim/aesimmim_swin-b_800e.py or of
           configs/baselines/simmim_swin-b_800e.py. The detector keeps the window size of the checkpoint
Expected:  not measured here
"""

_base_ = [
    '../../_base_/mask-rcnn_swin-b.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
optim_wrapper = {{_base_.swin_optim_wrapper}}

# Missing and broken images are skipped, counted and reported.
train_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
val_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
test_dataloader = val_dataloader
custom_hooks = [dict(type='UnreadableImagesHook')]
