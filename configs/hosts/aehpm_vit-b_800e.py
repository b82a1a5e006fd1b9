"""AEMIM on HPM, ViT-B/16, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/hosts/aehpm_vit-b_800e.py 8 --data-root DIR
Needs:     as baselines/hpm_vit-b_800e.py
Expected:  no published figure; HPM alone gives 84.2 top-1 after fine-tuning (its authors)

The teacher sees the clean images alone. All passes hide the same patches.
"""

_base_ = '../baselines/hpm_vit-b_800e.py'

model = dict(type='AEHPM')
data_preprocessor = dict(type='AdvDataPreprocessor', eps=2, steps=2)
