"""MAE, ViT-B/16, ImageNet-1K, 800 epochs: the baseline of aemim_vit-b_800e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/mae_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py
Expected:  83.3 top-1 after fine-tuning (mmpretrain, in float16)
"""

_base_ = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

# AEMIM's data preprocessor without the attack: MAE reads no data samples, so none is copied to the device.
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())

# A collate_fn inherited from `mmpretrain::` has a field `_scope_`, which the function does not accept.
train_dataloader = dict(collate_fn=dict(_delete_=True, type='default_collate'))
optim_wrapper = dict(
    type='Bfloat16OptimWrapper', constructor='MergedOptimWrapperConstructor', optimizer=dict(type='FusedAdamW')
)

# Exact resume and safe checkpoints, as in aemim_vit-b_800e.py.
train_cfg = dict(type='ResumableEpochLoop')
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
env_cfg = dict(dist_cfg=dict(timeout=600))
