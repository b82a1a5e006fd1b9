"""MAE, ViT-B/16, 800 epochs, with CrossMAE's decoder: the baseline of aemim-cross_vit-b_800e.py.

Run:       tools/dist_train.sh configs/baselines/mae-cross_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in less time: see docs/performance.md
Expected:  the accuracy of MAE or more (CrossMAE, arXiv 2401.14391)
"""

_base_ = './mae_vit-b_800e.py'

model = dict(
    type='PartialMAE',
    backbone=dict(type='AEMIMViT', adapters=()),
    neck=dict(_delete_=True, type='AEMIMCrossDecoder', decode_share=1 / 3),
    head=dict(type='AEMIMHead'),
)
