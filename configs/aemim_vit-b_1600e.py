"""AEMIM on MAE, ViT-B/16, ImageNet-1K, 1600 epochs.

Run:       tools/dist_train.sh configs/aemim_vit-b_1600e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py
Expected:  0.2 top-1 above MAE after fine-tuning (paper; not reproduced here)
"""

_base_ = './aemim_vit-b_800e.py'

train_cfg = dict(max_epochs=1600)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, by_epoch=True, begin=0, end=40, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=1560, by_epoch=True, begin=40, end=1600, convert_to_iter_based=True),
]
