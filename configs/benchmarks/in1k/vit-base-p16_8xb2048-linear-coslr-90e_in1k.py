"""Linear probing of ViT-B/16 on ImageNet-1K, 90 epochs: MAE's recipe.

Run:       tools/dist_train.sh configs/benchmarks/in1k/vit-base-p16_8xb2048-linear-coslr-90e_in1k.py 8 --data-root DIR
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as vit-base-p16_8xb128-coslr-100e_in1k.py, with a total batch size of 16384 (8 x 2048)
Expected:  65.1 top-1 from MAE, 800 epochs (mmpretrain); no published figure for AEMIM

The encoder is frozen. LARS trains a linear layer on its class token, after batch norm.
"""

_base_ = 'mmpretrain::mae/benchmarks/vit-base-p16_8xb2048-linear-coslr-90e_in1k.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/aemim_vit-b_800e/epoch_800.pth')))
optim_wrapper = dict(type='Bfloat16OptimWrapper')
# The learning rate 6.4 is for this batch size. mmpretrain's config says 1024, so --auto-scale-lr would give 102.4.
auto_scale_lr = dict(base_batch_size=16384)
