"""Optimizer, schedule and logging of the demo's fine-tuning end to end, for batches of 50 images."""

_base_ = './demo_runtime.py'

max_epochs = 16
optim_wrapper = dict(
    optimizer=dict(lr=3e-3, betas=(0.9, 0.999)),
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        _delete_=True,
        layer_decay_rate=0.65,
        custom_keys={
            '.ln': dict(decay_mult=0.0),
            '.bias': dict(decay_mult=0.0),
            '.cls_token': dict(decay_mult=0.0),
            '.pos_embed': dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=15, by_epoch=True, begin=1, end=16, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=16)
auto_scale_lr = dict(base_batch_size=50)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=16))
