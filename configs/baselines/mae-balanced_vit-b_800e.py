"""MAE, ViT-B/16, 800 epochs, with half of the hidden patches decoded: the baseline of aemim-balanced_vit-b_800e.py.

Run:       tools/dist_train.sh configs/baselines/mae-balanced_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in less time: see docs/performance.md
Expected:  no published figure. PR-MIM (arXiv 2411.15746) reports that fewer patches cost accuracy
"""

_base_ = './mae_vit-b_800e.py'

model = dict(
    type='PartialMAE',
    backbone=dict(type='AEMIMViT', adapters=()),
    neck=dict(type='AEMIMDecoder', decode_share=0.5),
    head=dict(type='AEMIMHead'),
)
