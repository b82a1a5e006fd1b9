"""AEMIM on CIM that recovers pixels, ViT-B/16, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/hosts/aecim_vit-b_300e.py 8 --data-root DIR
Needs:     as baselines/cim-respix_vit-b_300e.py
Expected:  no published figure; CIM alone gives 83.3 top-1 after fine-tuning (its authors)

A corruption is drawn once a step, and moves as the image does.
"""

_base_ = '../baselines/cim-respix_vit-b_300e.py'

model = dict(type='AECIM')
data_preprocessor = dict(type='AdvDataPreprocessor', eps=2, steps=2)
