"""AEMIM on MAE, ViT-L/16, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/aemim_vit-l_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, and about three times the computation
Expected:  no published figure
"""

_base_ = './aemim_vit-b_800e.py'

model = dict(backbone=dict(arch='l'), neck=dict(embed_dim=1024))
