"""Fine-tuning of ViT-L/16 end to end on ImageNet-1K, 50 epochs: the recipe of MAE's authors.

Run:       tools/dist_train.sh configs/benchmarks/in1k/vit-large-p16_8xb128-coslr-50e_in1k.py 8 --data-root DIR
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     as vit-base-p16_8xb128-coslr-100e_in1k.py; by default the checkpoint of aemim_vit-l_800e.py
Expected:  no published figure for AEMIM; 85.4 from MAE, 800 epochs (mmpretrain)
"""

_base_ = 'mmpretrain::mae/benchmarks/vit-large-p16_8xb128-coslr-50e_in1k.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/aemim_vit-l_800e/epoch_800.pth')))
optim_wrapper = dict(type='Bfloat16OptimWrapper')
