"""AEMIM on MAE, ViT-B/16, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/aemim_vit-b_800e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 4096 (8 x 512). For another batch size
           (another number of GPUs, or --cfg-options train_dataloader.batch_size=256), add --auto-scale-lr.
Expected:  83.8 top-1 after fine-tuning (paper; not reproduced here: it takes hundreds of GPU hours)

Each choice that the paper leaves open is a field, such as model.distance, model.attack_mask, model.adv_target,
model.adv_weight, model.decoder, model.backbone.adapters and data_preprocessor.start. The docstrings of AdversarialMIM
and AdvDataPreprocessor list all fields.
"""

_base_ = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

model = dict(type='AEMIM', backbone=dict(type='AEMIMViT'), neck=dict(type='AEMIMDecoder'), head=dict(type='AEMIMHead'))
data_preprocessor = dict(type='AdvDataPreprocessor', eps=2, steps=2)

# A collate_fn inherited from `mmpretrain::` has a field `_scope_`, which the function does not accept.
train_dataloader = dict(collate_fn=dict(_delete_=True, type='default_collate'))
# One parameter group for each weight decay, not for each parameter: less work for the host.
optim_wrapper = dict(
    type='Bfloat16OptimWrapper', constructor='MergedOptimWrapperConstructor', optimizer=dict(type='FusedAdamW')
)

# Exact resume and safe checkpoints: see docs/resumption.md.
train_cfg = dict(type='ResumableEpochLoop')
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
env_cfg = dict(dist_cfg=dict(timeout=600))

custom_hooks = [dict(type='PanelHook', interval=50), dict(type='InstrumentsHook', interval=5)]
