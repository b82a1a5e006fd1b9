"""iBOT with the encoder and data of mae_vit-tiny_16e_fashion-mnist.py, 32 epochs.

Run:       python tools/train.py configs/demo/ibot_vit-tiny_32e_fashion-mnist.py
Needs:     a CPU, and about 20 minutes on one core
Expected:  linear probe and 20-NN as iBOT's in results/demo_ibot.json, by tools/analysis_tools/probe.py

The training has 1,024 steps, in which a teacher as fast as on ImageNet loses what its random weights tell of an image.
So it is slower, half or more of the patches are hidden, and the loss of patches weighs ten times that of the class
token. There are no local crops: of 28 pixels, little would be left.
"""

_base_ = './mae_vit-tiny_16e_fashion-mnist.py'

model = dict(
    _delete_=True,
    type='IBOT',
    backbone=dict(
        type='SimMIMViT',
        out_type='raw',
        arch=dict(embed_dims=192, num_layers=4, num_heads=6, feedforward_channels=768),
        img_size=28,
        patch_size=7,
        patch_cfg=dict(in_channels=1),
    ),
    head=dict(type='IBOTHead', in_channels=192, hidden_channels=512, bottleneck_channels=64, out_channels=1024),
    teacher_temperature=0.04,
    momentum=0.9995,
    cls_weight=0.1,
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=('mask',), mean=[73.0], std=[90.0]),
)

pipeline = [
    dict(
        type='MultiView',
        num_views=[2],
        transforms=[
            [
                dict(type='RandomResizedCrop', scale=28, crop_ratio_range=(0.6, 1.0), interpolation='bicubic'),
                dict(type='RandomFlip', prob=0.5),
            ]
        ],
    ),
    dict(type='IBOTMaskGenerator', input_size=28, model_patch_size=7, mask_ratios=((0.5, 0.75),)),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))

optim_wrapper = dict(clip_grad=dict(max_norm=3.0))
custom_hooks = [dict(type='FreezeHook', names=('head.last_layer.',), epochs=1)]
train_cfg = dict(max_epochs=32)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=30, by_epoch=True, begin=2, end=32, convert_to_iter_based=True),
]
