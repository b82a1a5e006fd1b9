"""AEMIM on SimMIM, Swin-B, ImageNet-1K at 192 pixels, 800 epochs.

Run:       tools/dist_train.sh configs/simmim/aesimmim_swin-b_800e.py 16 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 2048 (16 x 128)
Expected:  no published figure
"""

_base_ = 'mmpretrain::simmim/simmim_swin-base-w6_16xb128-amp-coslr-800e_in1k-192px.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

model = dict(type='AESimMIM')
data_preprocessor = dict(type='AdvDataPreprocessor', eps=2, steps=2)

# A collate_fn inherited from `mmpretrain::` has a field `_scope_`, which the function does not accept.
train_dataloader = dict(batch_size=128, collate_fn=dict(_delete_=True, type='default_collate'))
optim_wrapper = dict(type='Bfloat16OptimWrapper', constructor='MergedOptimWrapperConstructor')

# Exact resume and safe checkpoints: see docs/resumption.md.
train_cfg = dict(type='ResumableEpochLoop')
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
env_cfg = dict(dist_cfg=dict(timeout=600))

custom_hooks = [dict(type='PanelHook', interval=50), dict(type='InstrumentsHook', interval=5)]
