"""MAE, ViT-B/16, 800 epochs, with a third of the hidden patches decoded: the baseline of aemim-fast_vit-b_800e.py.

Run:       tools/dist_train.sh configs/baselines/mae-fast_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in less time: see docs/performance.md
Expected:  no published figure. PR-MIM (arXiv 2411.15746) reports that fewer patches cost accuracy
"""

_base_ = './mae-balanced_vit-b_800e.py'

model = dict(neck=dict(decode_share=1 / 3))
