"""EVA (MAE-style), ViT-B/16, 400 epochs: the baseline of hosts/aeeva_vit-b_400e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/eva_vit-b_400e.py 16 --data-root DIR
Needs:     as hosts/aeeva_vit-b_400e.py
Expected:  83.7 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aeeva_vit-b_400e.py'

model = dict(type='EVA')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())
