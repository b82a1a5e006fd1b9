"""Linear probing of ViT-B/16 on ImageNet-1K, 90 epochs: MAE's recipe.

Run:       tools/dist_train.sh configs/benchmarks/in1k/vit-base-p16_8xb2048-linear-coslr-90e_in1k.py 8 --data-root DIR
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as vit-base-p16_8xb128-coslr-100e_in1k.py, but batch 16384 in all (8 x 2048)
Expected:  the paper gives no figure that we could read; 65.1 from MAE, 800 epochs (mmpretrain)

The encoder is frozen. Its class token, normalised over the batch, goes to a linear layer, which LARS trains.
"""

_base_ = 'mmpretrain::mae/benchmarks/vit-base-p16_8xb2048-linear-coslr-90e_in1k.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/aemim_vit-b_800e/epoch_800.pth')))
optim_wrapper = dict(type='Bfloat16OptimWrapper')
# The rate, 6.4, is for this batch; mmpretrain's config inherits 1024, with which --auto-scale-lr would give 102.4.
auto_scale_lr = dict(base_batch_size=16384)
