"""The ViT and the decoder of demo_vit.py for 48 x 48 pixels in colour, with patches of 8 x 8."""

_base_ = './demo_vit.py'

model = dict(
    backbone=dict(img_size=48, patch_size=8, patch_cfg=dict(in_channels=3)),
    neck=dict(patch_size=8, in_chans=3),
    head=dict(patch_size=8, in_channels=3),
    # RGB, of the pixels in data/openclipart/all.
    data_preprocessor=dict(mean=[207.0, 202.0, 195.0], std=[78.0, 80.0, 88.0], to_rgb=True),
)
