"""SimMIM, ViT-B/16, 800 epochs: the baseline of simmim/aesimmim_vit-b_800e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/simmim_vit-b_800e.py 16 --data-root DIR
Needs:     as simmim/aesimmim_vit-b_800e.py
Expected:  83.8 top-1 after fine-tuning (SimMIM's authors)
"""

_base_ = '../simmim/aesimmim_vit-b_800e.py'

model = dict(type='SimMIM')
data_preprocessor = dict(
    _delete_=True,
    type='BatchDataPreprocessor',
    sample_fields=('mask',),
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
custom_hooks = []
