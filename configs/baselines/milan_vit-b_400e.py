"""MILAN, ViT-B/16, 400 epochs: the baseline of hosts/aemilan_vit-b_400e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/milan_vit-b_400e.py 16 --data-root DIR
Needs:     as hosts/aemilan_vit-b_400e.py
Expected:  85.3 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aemilan_vit-b_400e.py'

model = dict(type='MILAN')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())
