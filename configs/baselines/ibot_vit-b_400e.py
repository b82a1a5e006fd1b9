"""iBOT, ViT-B/16, ImageNet-1K, 400 epochs, with ten local crops.

Run:       tools/dist_train.sh configs/baselines/ibot_vit-b_400e.py 16 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 1024 (16 x 64). For another batch size, add
           --auto-scale-lr.
Expected:  77.1 k-NN, 79.5 linear probing, 83.8 top-1 after fine-tuning, all of the teacher (paper; not reproduced here)

To start from the teacher, as the paper does, set prefix='teacher.backbone.' in the init_cfg of the backbone; with
'backbone.' it is the student. Crops and masks are those that the authors publish for ViT-S/16. Two things differ: they
clip the gradient of each parameter at norm 3, this config clips the norm of all; and they learn the length of the
directions in the last layer, which is 1 here.
"""

_base_ = './mae_vit-b_800e.py'

max_epochs, local_crops = 400, 10

model = dict(
    _delete_=True,
    type='IBOT',
    backbone=dict(type='SimMIMViT', out_type='raw', arch='b', img_size=224, patch_size=16, drop_path_rate=0.1),
    head=dict(type='IBOTHead', in_channels=768),
    student_temperature=0.1,
    teacher_temperature=[(0, 0.04), (30 / max_epochs, 0.07)],
    center_momentum=0.9,
    momentum=0.996,
)
data_preprocessor = dict(sample_fields=('mask',))

# With Pillow, mmcv warns at each image.
jitter = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, backend='cv2')
colours = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomApply', transforms=[jitter], prob=0.8),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)),
]
crop = dict(type='RandomResizedCrop', backend='pillow', interpolation='bicubic')
blur = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf')
global_crop = dict(crop, scale=224, crop_ratio_range=(0.25, 1.0))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiView',
        num_views=[1, 1, local_crops],
        transforms=[
            [global_crop, *colours, dict(blur, prob=1.0)],
            [global_crop, *colours, dict(blur, prob=0.1), dict(type='Solarize', thr=128, prob=0.2)],
            [dict(crop, scale=96, crop_ratio_range=(0.05, 0.25)), *colours, dict(blur, prob=0.5)],
        ],
    ),
    dict(type='IBOTMaskGenerator', input_size=224, model_patch_size=16, mask_ratios=[(0.0, 0.0), (0.1, 0.5)]),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))

# The learning rate is 5e-4 for each 256 images. Norms and biases do not decay.
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, betas=(0.9, 0.999), weight_decay=0.04),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=3.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs - 10,
        eta_min=1e-6,
        by_epoch=True,
        begin=10,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
    # To 0.4. A ratio keeps the parameters that do not decay at 0.
    dict(
        type='CosineAnnealingParamScheduler',
        param_name='weight_decay',
        T_max=max_epochs,
        eta_min_ratio=10,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=1024)
custom_hooks = [dict(type='FreezeHook', names=('head.last_layer.',), epochs=1)]
