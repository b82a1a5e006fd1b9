"""Coloured drawings, 6,214 without labels, for pre-training; tools/dataset_converters/openclipart.py prepares them."""

pipeline = [
    dict(type='LoadImageFromFile'),
    # Pillow reduces without aliasing.
    dict(type='RandomResizedCrop', scale=48, crop_ratio_range=(0.6, 1.0), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=125,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    drop_last=True,
    dataset=dict(type='UnlabelledFolder', data_root='data/openclipart', data_prefix='all', pipeline=pipeline),
)
