"""MFF, ViT-B/16, 300 epochs: the baseline of hosts/aemff_vit-b_300e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/mff_vit-b_300e.py 8 --data-root DIR
Needs:     as hosts/aemff_vit-b_300e.py
Expected:  83.0 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aemff_vit-b_300e.py'

model = dict(type='MFF')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())
