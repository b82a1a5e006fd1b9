"""Make the demo's encoder robust without labels: 4 epochs of adversarial encoder tuning.

Run:       python tools/train.py configs/demo/encoder-tuning_vit-tiny_4e_fashion-mnist.py
           another encoder: --cfg-options model.encoder=CHECKPOINT
Needs:     a checkpoint of a pre-training in this folder, by default that of `make demo`; 3 minutes on one core
Expected:  a more robust linear probe, as `mae-tuned` in docs/robustness.md
"""

_base_ = ['../_base_/demo_fashion_mnist.py', '../_base_/demo_runtime.py']

model = dict(
    type='AdversarialEncoderTuning',
    encoder='work_dirs/demo/mae/epoch_16.pth',
    # The demo probes and fine-tunes the mean over patches.
    out_type='featmap',
    data_preprocessor=dict(type='AdvDataPreprocessor', sample_fields=(), eps=8, steps=5, step_size=2.5),
)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=3, by_epoch=True, begin=1, end=4, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=4)
custom_hooks = [dict(type='EncoderSpecHook')]
