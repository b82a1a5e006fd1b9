"""Embedded Fashion-MNIST, 28 x 28 grey pixels, for pre-training on a CPU."""

pipeline = [
    dict(type='RandomResizedCrop', scale=28, crop_ratio_range=(0.6, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=125,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    drop_last=True,
    # 4,000 of the 5,000 images, to save time.
    dataset=dict(type='DemoFashionMNIST', split='train', limit=4000, pipeline=pipeline),
)
