"""Mask R-CNN on an AEMIM encoder (ViT-B/16), COCO, 36 epochs, several scales.

Run:       tools/dist_train.sh configs/benchmarks/coco/mask-rcnn_vitdet-b_3x_coco.py 8 --data-root DIR
               --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as mask-rcnn_vitdet-b_1x_coco.py. The log counts 12 epochs of three passes over the data
Expected:  not measured here
"""

_base_ = ['../../_base_/mask-rcnn_vitdet-b.py', 'mmdet::common/ms_3x_coco-instance.py']

optim_wrapper = {{_base_.vitdet_optim_wrapper}}

# mmdet's config evaluates boxes only.
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator

# Missing and broken images are skipped, counted and reported.
train_dataloader = dict(dataset=dict(dataset=dict(type='SkippingCocoDataset')))
val_dataloader = dict(dataset=dict(type='SkippingCocoDataset'))
test_dataloader = val_dataloader
custom_hooks = [dict(type='UnreadableImagesHook')]
