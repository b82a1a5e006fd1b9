"""MAE, HiViT-B, 800 epochs: the baseline of hosts/aemim_hivit-b_800e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/mae_hivit-b_800e.py 8 --data-root DIR
Needs:     as hosts/aemim_hivit-b_800e.py
Expected:  no published figure in mmpretrain
"""

_base_ = '../hosts/aemim_hivit-b_800e.py'

model = dict(type='MAE', head=dict(type='MAEPretrainHead'))
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())
custom_hooks = []
