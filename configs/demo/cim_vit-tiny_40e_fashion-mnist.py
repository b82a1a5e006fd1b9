"""CIM with the encoder and data of mae_vit-tiny_16e_fashion-mnist.py, 40 epochs.

Run:       python tools/train.py configs/demo/cim_vit-tiny_40e_fashion-mnist.py
Needs:     the tokenizer of vq-tokenizer_16e_fashion-mnist.py, trained; a CPU, and about 12 minutes on one core
Expected:  linear probe and 20-NN as in results/cim.json, by tools/analysis_tools/probe.py

An image has 16 tokens. So more of them are replaced than of the 196 in the paper, and the window of the target covers
nearly the whole image.
"""

_base_ = './mae_vit-tiny_16e_fashion-mnist.py'

image = dict(img_size=28, patch_size=7, patch_cfg=dict(in_channels=1))

model = dict(
    _delete_=True,
    type='CIM',
    backbone=dict(
        type='VisionTransformer',
        out_type='raw',
        arch=dict(embed_dims=192, num_layers=4, num_heads=6, feedforward_channels=768),
        **image,
    ),
    generator=dict(
        type='CIMGenerator',
        vocab_size=256,
        backbone=dict(
            type='SimMIMViT',
            out_type='raw',
            arch=dict(embed_dims=96, num_layers=2, num_heads=3, feedforward_channels=384),
            **image,
        ),
    ),
    target_generator=dict(
        type='Corrupter',
        mask_ratio=0.75,
        tokenizer=dict(
            type='VQTokenizer',
            image_channels=1,
            channels=64,
            embed_dims=16,
            vocab_size=256,
            strides=(7,),
            init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vq-tokenizer_16e_fashion-mnist/epoch_16.pth'),
        ),
    ),
    head=dict(type='ResPixHead', in_channels=192, patch_size=7, image_channels=1, window=27),
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=(), mean=[73.0], std=[90.0]),
)

train_cfg = dict(max_epochs=40)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=38, by_epoch=True, begin=2, end=40, convert_to_iter_based=True),
]
