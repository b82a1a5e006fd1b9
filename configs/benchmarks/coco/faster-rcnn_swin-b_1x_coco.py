"""Faster R-CNN on a Swin-B encoder of AESimMIM or SimMIM, COCO, 12 epochs: for annotations with boxes but no masks.

Run:       tools/dist_train.sh configs/benchmarks/coco/faster-rcnn_swin-b_1x_coco.py 8 --data-root DIR
               --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as mask-rcnn_swin-b_1x_coco.py, without `segmentation` in the annotations
Expected:  not measured here
"""

_base_ = [
    '../../_base_/mask-rcnn_swin-b.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(type='FasterRCNN', roi_head=dict(mask_roi_extractor=None, mask_head=None))
optim_wrapper = {{_base_.swin_optim_wrapper}}

# Missing and broken images are skipped, counted and reported.
train_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
val_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
test_dataloader = val_dataloader
custom_hooks = [dict(type='UnreadableImagesHook')]
