"""MAE, ViT-B/16, 800 epochs, that decodes a quarter of the hidden patches: the baseline of the cheaper AEMIM presets.

Run:       tools/dist_train.sh configs/baselines/mae-partial_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in less time: see docs/performance.md
Expected:  no published figure. PR-MIM (arXiv 2411.15746) reports that fewer patches cost accuracy
"""

_base_ = './mae_vit-b_800e.py'

model = dict(
    type='PartialMAE',
    backbone=dict(type='AEMIMViT', adapters=()),
    neck=dict(type='AEMIMDecoder', decode_share=0.25),
    head=dict(type='AEMIMHead'),
)
