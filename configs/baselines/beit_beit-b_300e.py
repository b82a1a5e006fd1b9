"""BEiT, ViT-B/16, 300 epochs: the baseline of hosts/aebeit_beit-b_300e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/beit_beit-b_300e.py 8 --data-root DIR
Needs:     as hosts/aebeit_beit-b_300e.py
Expected:  83.1 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aebeit_beit-b_300e.py'

model = dict(type='BEiT')
data_preprocessor = dict(type='BatchTwoNormDataPreprocessor', sample_fields=('mask',))
