"""MixMIM, MixMIM-B, 300 epochs: the baseline of hosts/aemixmim_mixmim-b_300e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/mixmim_mixmim-b_300e.py 16 --data-root DIR
Needs:     as hosts/aemixmim_mixmim-b_300e.py
Expected:  84.6 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aemixmim_mixmim-b_300e.py'

model = dict(type='MixMIM')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())
