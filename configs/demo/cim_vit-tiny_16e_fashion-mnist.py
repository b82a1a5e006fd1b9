"""CIM with the encoder, data and epochs of mae_vit-tiny_16e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/cim_vit-tiny_16e_fashion-mnist.py
Needs:     the tokenizer of vq-tokenizer_16e_fashion-mnist.py, trained; a CPU, and about 5 minutes on one core
Expected:  linear probe and 20-NN as in results/cim.json: a linear probe 2 points above the untrained encoder, less than
           MAE gains
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
    head=dict(type='ResPixHead', in_channels=192, patch_size=7, image_channels=1, window=7),
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=(), mean=[73.0], std=[90.0]),
)
