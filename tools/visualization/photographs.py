"""AEMIM on MAE, a small ViT, four photographs: for the first picture of the README.

Run:       python tools/visualization/photograph_panels.py
Needs:     scikit-image, whose package contains the photographs, and one CPU core
"""

_base_ = ['../../configs/_base_/demo_vit.py', '../../configs/_base_/demo_runtime.py']

size, patch = 112, 14
model = dict(
    type='AEMIM',
    backbone=dict(
        type='AEMIMViT',
        arch=dict(embed_dims=192, num_layers=6, num_heads=6, feedforward_channels=768),
        img_size=size,
        patch_size=patch,
        patch_cfg=dict(in_channels=3),
    ),
    neck=dict(type='AEMIMDecoder', img_size=size, patch_size=patch, in_chans=3, decoder_embed_dim=192, decoder_depth=2),
    # Pixels as they are: the reconstruction then has a brightness and a contrast of its own.
    head=dict(type='AEMIMHead', norm_pix=False, patch_size=patch, in_channels=3),
    data_preprocessor=dict(
        type='AdvDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True,
        eps=2, steps=2,
    ),
)  # fmt: skip

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.8, 1.0), aspect_ratio_range=(0.95, 1.05)),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='UnlabelledFolder', data_root='photographs', pipeline=pipeline),
)

max_iters = 3000
train_cfg = dict(_delete_=True, type='ResumableIterLoop', max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=max_iters - 100, by_epoch=False, begin=100, end=max_iters),
]
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=200, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
