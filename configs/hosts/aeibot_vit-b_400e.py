"""AEMIM on iBOT, ViT-B/16, ImageNet-1K, 400 epochs.

Run:       tools/dist_train.sh configs/hosts/aeibot_vit-b_400e.py 16 --data-root DIR
Needs:     as baselines/ibot_vit-b_400e.py
Expected:  no published figure; iBOT alone gives 83.8 top-1 after fine-tuning (its authors)

The student's global views are attacked. Its local crops and the teacher's views stay clean.
"""

_base_ = '../baselines/ibot_vit-b_400e.py'

model = dict(type='AEIBOT')
data_preprocessor = dict(type='AdvDataPreprocessor', eps=2, steps=2)
