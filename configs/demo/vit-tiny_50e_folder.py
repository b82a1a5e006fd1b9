"""Fine-tuning of an encoder of aemim_vit-tiny_50e_folder.py end to end, on your own labelled images, 50 epochs.

Run:       python tools/train.py configs/demo/vit-tiny_50e_folder.py --data-root DIR
           for N classes: --cfg-options model.head.num_classes=N data_preprocessor.num_classes=N
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     DIR/train/<class>/*.jpg and DIR/test/<class>/*.jpg, with 50 images to train on, or more, by default of 10
           classes; a checkpoint of a pre-training, by default of aemim_vit-tiny_50e_folder.py; a CPU
Expected:  tools/compare_on_folder.py shows it for your images
"""

_base_ = ['../_base_/demo_classifier.py', '../_base_/demo_fine_tuning.py']

model = dict(
    backbone=dict(
        img_size=64,
        patch_size=8,
        patch_cfg=dict(in_channels=3),
        init_cfg=dict(checkpoint='work_dirs/aemim_vit-tiny_50e_folder/epoch_50.pth'),
    ),
)
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

train_pipeline = [
    dict(type='LoadWholeImage', min_side=128),
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.4, 1.0), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=64, edge='short', interpolation='bicubic', backend='pillow'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='PackInputs'),
]
folder = dict(_delete_=True, type='LabelledFolder', data_root='data/images')
train_dataloader = dict(batch_size=50, dataset=dict(folder, data_prefix='train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(folder, data_prefix='test', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=50, val_interval=50)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=47, by_epoch=True, begin=3, end=50, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=50))
