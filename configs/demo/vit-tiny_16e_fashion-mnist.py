"""Fine-tuning of the demo's encoder end to end, with 500 labelled images of Fashion-MNIST, 16 epochs.

Run:       python tools/train.py configs/demo/vit-tiny_16e_fashion-mnist.py
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     a checkpoint of a pre-training in this folder, by default that of `make demo`; 20 seconds on 2 cores
Expected:  as in results/demo.json, on 2,000 test images
"""

_base_ = ['../_base_/demo_classifier.py', '../_base_/demo_runtime.py']

train_dataloader = dict(batch_size=50, dataset=dict(limit=500))

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
