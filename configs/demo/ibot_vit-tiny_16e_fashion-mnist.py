"""iBOT with the encoder, data and epochs of mae_vit-tiny_16e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/ibot_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU, and about 10 minutes on one core
Expected:  no measured figure yet; the temperatures are those of ImageNet, not tuned for these images
"""

_base_ = './mae_vit-tiny_16e_fashion-mnist.py'

local_crops = 2

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
    teacher_temperature=[(0, 0.04), (0.075, 0.07)],
    momentum=0.98,
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=('mask',), mean=[73.0], std=[90.0]),
)

crop = dict(type='RandomResizedCrop', interpolation='bicubic')
flip = dict(type='RandomFlip', prob=0.5)
pipeline = [
    dict(
        type='MultiView',
        num_views=[2, local_crops],
        transforms=[
            [dict(crop, scale=28, crop_ratio_range=(0.4, 1.0)), flip],
            [dict(crop, scale=14, crop_ratio_range=(0.1, 0.4)), flip],
        ],
    ),
    dict(type='IBOTMaskGenerator', input_size=28, model_patch_size=7),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))

optim_wrapper = dict(clip_grad=dict(max_norm=3.0))
custom_hooks = [dict(type='FreezeHook', names=('head.last_layer.',), epochs=1)]
