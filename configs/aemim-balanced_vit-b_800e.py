"""AEMIM on MAE, ViT-B/16, 800 epochs, with one-step adversarial examples of half of each batch:
less than the paper does.

Run:       tools/dist_train.sh configs/aemim-balanced_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in about 0.7 times its time: see docs/performance.md
Expected:  no published figure
"""

_base_ = './aemim_vit-b_800e.py'

# One step has to go as far as two.
data_preprocessor = dict(steps=1, step_size=2.5)
model = dict(adv_share=0.5)
