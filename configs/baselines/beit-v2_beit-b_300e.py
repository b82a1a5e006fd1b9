"""BEiT v2, ViT-B/16, 300 epochs: the baseline of hosts/aebeit-v2_beit-b_300e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/beit-v2_beit-b_300e.py 8 --data-root DIR
Needs:     as hosts/aebeit-v2_beit-b_300e.py
Expected:  85.0 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aebeit-v2_beit-b_300e.py'

model = dict(type='BEiT')
data_preprocessor = dict(type='BatchTwoNormDataPreprocessor', sample_fields=('mask',))
