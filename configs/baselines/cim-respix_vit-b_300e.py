"""CIM that recovers pixels (ResPix), ViT-B/16, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/baselines/cim-respix_vit-b_300e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 2048 (8 x 256);
           the weights of OpenAI's DALL-E: the encoder's are downloaded, and docs/baselines.md says how to convert the
           decoder's to dalle_decoder.pth. For other files, add
           --cfg-options model.target_generator.tokenizer.encoder.init_cfg.checkpoint=FILE
           model.target_generator.tokenizer.decoder.init_cfg.checkpoint=FILE.
Expected:  83.3 top-1 after 300 epochs of pre-training and fine-tuning (CIM's authors; not reproduced here)

CIM has no official code. Data, schedule and optimizer are mmpretrain's for BEiT, without its colour jitter and with
another beta of Adam. The table in docs/baselines.md says which settings are our reconstruction.
"""

_base_ = ['mmpretrain::beit/beit_beit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/host.py']

image = dict(img_size=224, patch_size=16)

model = dict(
    _delete_=True,
    type='CIM',
    backbone=dict(type='VisionTransformer', arch='b', out_type='raw', drop_path_rate=0.1, **image),
    generator=dict(
        type='CIMGenerator',
        vocab_size=8192,
        backbone=dict(
            type='BEiTPretrainViT',
            arch=dict(embed_dims=384, num_layers=4, num_heads=6, feedforward_channels=1536),
            final_norm=True,
            out_type='raw',
            layer_scale_init_value=0.1,
            init_cfg=_base_.model.backbone.init_cfg,
            **image,
        ),
    ),
    # 110 of 196 tokens.
    target_generator=dict(
        type='Corrupter',
        mask_ratio=0.56,
        tokenizer=dict(
            type='DALLETokenizer',
            encoder=dict(init_cfg=_base_.model.target_generator.init_cfg),
            decoder=dict(init_cfg=dict(type='Pretrained', checkpoint='dalle_decoder.pth')),
        ),
    ),
    head=dict(type='ResPixHead', in_channels=768, patch_size=16),
    enhancer_weight=1.0,
)
data_preprocessor = dict(
    _delete_=True,
    type='BatchDataPreprocessor',
    sample_fields=(),
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
train_dataloader = dict(train_dataloader, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    optim_wrapper,
    optimizer=dict(type='FusedAdamW', betas=(0.9, 0.98)),
    paramwise_cfg=dict(custom_keys={'mask_token': dict(decay_mult=0.0)}),
)
