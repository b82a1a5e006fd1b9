"""Fine-tuning of ViT-B/16 end to end on ImageNet-1K, 100 epochs: MAE's recipe.

Run:       tools/dist_train.sh configs/benchmarks/in1k/vit-base-p16_8xb128-coslr-100e_in1k.py 8 --data-root DIR
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     a checkpoint of AEMIM or MAE, by default that of aemim_vit-b_800e.py; ImageNet-1K, with
           DIR/{train,val}/<class>/*.JPEG; total batch size 1024 (8 x 128); for another, add --auto-scale-lr
Expected:  83.8 top-1 from AEMIM, 83.3 from MAE, 800 epochs (paper; not reproduced here)

The encoder is mmpretrain's VisionTransformer. It loads the clean weights of the checkpoint only.
"""

_base_ = 'mmpretrain::mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py'

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/aemim_vit-b_800e/epoch_800.pth')))
optim_wrapper = dict(type='Bfloat16OptimWrapper')
