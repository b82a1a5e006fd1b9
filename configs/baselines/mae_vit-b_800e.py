"""MAE, ViT-B/16, ImageNet-1K, 800 epochs: the baseline that matches aemim_vit-b_800e.py in all but the method.

Run:       tools/dist_train.sh configs/baselines/mae_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py
Expected:  83.3 top-1 after fine-tuning (mmpretrain, in float16)
"""

_base_ = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

# Inherited by `mmpretrain::`, this would carry a `_scope_` that the function does not take.
train_dataloader = dict(collate_fn=dict(_delete_=True, type='default_collate'))
optim_wrapper = dict(type='Bfloat16OptimWrapper', optimizer=dict(type='FusedAdamW'))

# As in the method: see docs/scaling.md.
train_cfg = dict(type='ResumableEpochLoop')
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
env_cfg = dict(dist_cfg=dict(timeout=600))
