"""AEMIM on MIMIR, ViT-B/16, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/hosts/aemimir_vit-b_800e.py 8 --data-root DIR
Needs:     as baselines/mimir_vit-b_800e.py
Expected:  no published figure

The images that AEMIM attacks are MIMIR's adversarial examples. Both attacks have AEMIM's budget.
"""

_base_ = '../baselines/mimir_vit-b_800e.py'

model = dict(type='AEMIMIR')
data_preprocessor = dict(eps=2, steps=2, step_size=1)
