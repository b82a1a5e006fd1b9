"""CAE, ViT-B/16, 300 epochs: the baseline of hosts/aecae_beit-b_300e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/cae_beit-b_300e.py 8 --data-root DIR
Needs:     as hosts/aecae_beit-b_300e.py
Expected:  83.2 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aecae_beit-b_300e.py'

model = dict(type='CAE')
data_preprocessor = dict(type='BatchTwoNormDataPreprocessor', sample_fields=('mask',))
