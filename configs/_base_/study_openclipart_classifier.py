"""The classifier of demo_classifier.py for the labelled drawings: 8 classes, 1,688 images, and 520 for tests."""

_base_ = './demo_classifier.py'

model = dict(
    backbone=dict(
        img_size=48,
        patch_size=8,
        patch_cfg=dict(in_channels=3),
        init_cfg=dict(checkpoint='work_dirs/aemim_vit-tiny_16e_openclipart/epoch_16.pth'),
    ),
    head=dict(num_classes=8),
)
data_preprocessor = dict(num_classes=8, mean=[207.0, 202.0, 195.0], std=[78.0, 80.0, 88.0], to_rgb=True)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=48, crop_ratio_range=(0.6, 1.0), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=48, interpolation='bicubic', backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='LabelledFolder',
        data_root='data/openclipart',
        data_prefix='train',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='LabelledFolder',
        data_root='data/openclipart',
        data_prefix='test',
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
