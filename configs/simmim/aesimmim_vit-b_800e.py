"""AEMIM on SimMIM, ViT-B/16, ImageNet-1K at 224 pixels, 800 epochs.

Run:       tools/dist_train.sh configs/simmim/aesimmim_vit-b_800e.py 16 --data-root DIR
Needs:     as aesimmim_swin-b_800e.py
Expected:  no published figure; SimMIM alone gives 83.8 top-1 after fine-tuning (its authors)

For non-square images, set (height, width) in model.backbone.img_size, in scale of RandomResizedCrop and in input_size
of BlockMaskGenerator. Both are multiples of mask_patch_size.
"""

_base_ = './aesimmim_swin-b_800e.py'

model = dict(
    backbone=dict(_delete_=True, type='SimMIMViT', arch='b', img_size=224, patch_size=16, drop_path_rate=0.1),
    neck=dict(in_channels=768, encoder_stride=16),
    head=dict(patch_size=16),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.67, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='BlockMaskGenerator', input_size=224, mask_patch_size=32, model_patch_size=16, mask_ratio=0.6),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'ln': dict(decay_mult=0.0),
            'pos_embed': dict(decay_mult=0.0),
            'cls_token': dict(decay_mult=0.0),
            'mask_token': dict(decay_mult=0.0),
        }
    )
)
