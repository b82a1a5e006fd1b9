"""The ViT and decoder of demo_vit.py for 64 x 64 pixels in colour, with patches of 8 x 8, and a folder of images."""

_base_ = ['./demo_vit.py', './demo_runtime.py']

size = 64
model = dict(
    backbone=dict(img_size=size, patch_size=8, patch_cfg=dict(in_channels=3)),
    neck=dict(patch_size=8, in_chans=3),
    head=dict(patch_size=8, in_channels=3),
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
)

train_pipeline = [
    # JPEG files are decoded at a fraction of their size, if that is enough.
    dict(type='LoadWholeImage', min_side=2 * size),
    # Pillow reduces without aliasing.
    dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.4, 1.0), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    drop_last=True,
    dataset=dict(type='UnlabelledFolder', data_root='data/images', pipeline=train_pipeline),
)

optim_wrapper = dict(optimizer=dict(lr=1e-3 * 50 / 125))
auto_scale_lr = dict(base_batch_size=50)
train_cfg = dict(max_epochs=50)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=47, by_epoch=True, begin=3, end=50, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=10))
