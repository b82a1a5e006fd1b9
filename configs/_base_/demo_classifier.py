"""A classifier on the encoder of demo_vit.py for the labelled images. As in MAE, batch norm precedes the head."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=192, num_layers=4, num_heads=6, feedforward_channels=768),
        img_size=28,
        patch_size=7,
        patch_cfg=dict(in_channels=1),
        out_type='avg_featmap',
        final_norm=False,
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/demo/aemim/epoch_16.pth', prefix='backbone.'),
    ),
    neck=dict(type='ClsBatchNormNeck', input_features=192),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=192, loss=dict(type='CrossEntropyLoss')),
)
data_preprocessor = dict(num_classes=10, mean=[73.0], std=[90.0])

train_pipeline = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=125,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    drop_last=True,
    dataset=dict(type='DemoFashionMNIST', split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='DemoFashionMNIST', split='test', test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader, test_evaluator = val_dataloader, val_evaluator
val_cfg, test_cfg = dict(), dict()
