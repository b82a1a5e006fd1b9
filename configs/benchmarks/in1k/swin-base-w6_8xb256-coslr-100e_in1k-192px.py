"""Fine-tuning of Swin-B end to end on ImageNet-1K at 192 pixels, 100 epochs: SimMIM's recipe.

Run:       tools/dist_train.sh configs/benchmarks/in1k/swin-base-w6_8xb256-coslr-100e_in1k-192px.py 8 --data-root DIR
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     a checkpoint of AESimMIM or SimMIM, by default that of aesimmim_swin-b_800e.py; ImageNet-1K, with
           DIR/{train,val}/<class>/*.JPEG; total batch size 2048 (8 x 256); for another, add --auto-scale-lr
Expected:  83.8 top-1 from SimMIM, 800 epochs (mmpretrain); no published figure for AEMIM
"""

_base_ = 'mmpretrain::simmim/benchmarks/swin-base-w6_8xb256-coslr-100e_in1k-192px.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/aesimmim_swin-b_800e/epoch_800.pth')))

# A collate_fn inherited from `mmpretrain::` has a field `_scope_`, which the function does not accept.
train_dataloader = dict(collate_fn=dict(_delete_=True, type='default_collate'))
val_dataloader = dict(collate_fn=dict(_delete_=True, type='default_collate'))
test_dataloader = dict(collate_fn=dict(_delete_=True, type='default_collate'))
optim_wrapper = dict(type='Bfloat16OptimWrapper')
auto_scale_lr = dict(base_batch_size=2048)
