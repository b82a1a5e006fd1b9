"""MaskFeat, ViT-B/16, 300 epochs: the baseline of hosts/aemaskfeat_vit-b_300e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/maskfeat_vit-b_300e.py 8 --data-root DIR
Needs:     as hosts/aemaskfeat_vit-b_300e.py
Expected:  83.4 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aemaskfeat_vit-b_300e.py'

model = dict(type='MaskFeat')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=('mask',))
