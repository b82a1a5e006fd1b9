auto_scale_lr = dict(base_batch_size=125)
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'aemim_mm',
    ])
default_hooks = dict(
    checkpoint=dict(interval=1, max_keep_ckpts=2, type='SafeCheckpointHook'),
    logger=dict(interval=1, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl', timeout=600),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
launcher = 'none'
load_from = None
log_level = 'INFO'
max_epochs = 16
model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=16, feedforward_channels=32, num_heads=2, num_layers=2),
        img_size=28,
        mask_ratio=0.75,
        patch_cfg=dict(in_channels=1),
        patch_size=7,
        type='AEMIMViT'),
    data_preprocessor=dict(
        eps=2,
        mean=[
            73.0,
        ],
        std=[
            90.0,
        ],
        steps=2,
        type='AdvDataPreprocessor'),
    head=dict(
        in_channels=1,
        loss=dict(criterion='L2', type='PixelReconstructionLoss'),
        norm_pix=True,
        patch_size=7,
        type='AEMIMHead'),
    init_cfg=[
        dict(distribution='uniform', layer='Linear', type='Xavier'),
        dict(bias=0.0, layer='LayerNorm', type='Constant', val=1.0),
    ],
    neck=dict(
        decoder_depth=1,
        decoder_embed_dim=16,
        decoder_num_heads=2,
        embed_dim=16,
        img_size=28,
        in_chans=1,
        mlp_ratio=2,
        patch_size=7,
        type='AEMIMDecoder'),
    type='AEMIM')
optim_wrapper = dict(
    optimizer=dict(
        betas=(
            0.9,
            0.95,
        ), lr=0.001, type='AdamW', weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(
            bias=dict(decay_mult=0.0),
            cls_token=dict(decay_mult=0.0),
            mask_token=dict(decay_mult=0.0),
            pos_embed=dict(decay_mult=0.0)),
        norm_decay_mult=0.0),
    type='OptimWrapper')
param_scheduler = [
    dict(
        begin=0,
        by_epoch=True,
        convert_to_iter_based=True,
        end=2,
        start_factor=0.001,
        type='LinearLR'),
    dict(
        T_max=14,
        begin=2,
        by_epoch=True,
        convert_to_iter_based=True,
        end=16,
        type='CosineAnnealingLR'),
]
pipeline = [
    dict(
        crop_ratio_range=(
            0.6,
            1.0,
        ),
        interpolation='bicubic',
        scale=28,
        type='RandomResizedCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(type='PackInputs'),
]
randomness = dict(diff_rank_seed=True, seed=0)
resume = False
train_cfg = dict(max_epochs=2, type='ResumableEpochLoop')
train_dataloader = dict(
    batch_size=16,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        limit=64,
        pipeline=[
            dict(
                crop_ratio_range=(
                    0.6,
                    1.0,
                ),
                interpolation='bicubic',
                scale=28,
                type='RandomResizedCrop'),
            dict(prob=0.5, type='RandomFlip'),
            dict(type='PackInputs'),
        ],
        split='train',
        type='DemoFashionMNIST'),
    drop_last=True,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=True, type='DefaultSampler'))
visualizer = dict(
    type='UniversalVisualizer', vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work_dirs/before'
