"""AEMIM on SimMIM with the encoder, data and epochs of aemim_vit-tiny_16e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/aesimmim_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU
Expected:  no measured figure yet
"""

_base_ = ['../_base_/demo_vit.py', '../_base_/demo_fashion_mnist.py', '../_base_/demo_runtime.py']

model = dict(
    type='AESimMIM',
    backbone=dict(
        _delete_=True,
        type='SimMIMViT',
        arch=dict(embed_dims=192, num_layers=4, num_heads=6, feedforward_channels=768),
        img_size=28,
        patch_size=7,
        patch_cfg=dict(in_channels=1),
    ),
    neck=dict(_delete_=True, type='SimMIMDecoder', in_channels=192, encoder_stride=7, image_channels=1),
    head=dict(
        _delete_=True, type='SimMIMHead', patch_size=7, loss=dict(type='PixelReconstructionLoss', criterion='L1')
    ),
    data_preprocessor=dict(type='AdvDataPreprocessor', sample_fields=('mask',), eps=2, steps=2),
)

pipeline = [
    *_base_.pipeline[:-1],
    dict(type='BlockMaskGenerator', input_size=28, mask_patch_size=7, model_patch_size=7, mask_ratio=0.6),
    _base_.pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
