"""aemim_vit-b_folder.py with the small network of reduced_1x.py."""

_base_ = '../../configs/aemim_vit-b_folder.py'

arch = dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512)
model = dict(
    backbone=dict(arch=dict(_delete_=True, **arch), img_size=128),
    neck=dict(img_size=128, embed_dim=128, decoder_embed_dim=128, decoder_depth=2, decoder_num_heads=4),
)
pipeline = [
    dict(type='LoadWholeImage'),
    dict(type='RandomResizedCrop', scale=128, crop_ratio_range=(0.3, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=16, num_workers=0, persistent_workers=False, dataset=dict(pipeline=pipeline))
adamw = dict(type='AdamW', lr=5e-4, betas=(0.9, 0.95), weight_decay=0.05)
# With a learning rate of 2e-3 for all weights, features grow 14-fold, and a detector learns worse from them.
slow = dict(custom_keys=dict(patch_embed=dict(lr_mult=0.05)))
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=adamw, paramwise_cfg=slow)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=10, by_epoch=True, begin=2, end=12, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=12)
custom_hooks = []
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=12))
randomness = dict(seed=1)
