"""AEMIM on MAE, ViT-B/16, 800 epochs, cheaper: one attack step on half of the batch, a quarter of patches decoded.

Run:       tools/dist_train.sh configs/aemim-balanced_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in less time: see docs/performance.md
Expected:  no published figure
"""

_base_ = './aemim_vit-b_800e.py'

# A single step must be longer than each of two.
data_preprocessor = dict(steps=1, step_size=2.5)
model = dict(adv_share=0.5, neck=dict(decode_share=0.25))
