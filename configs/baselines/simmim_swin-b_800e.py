"""SimMIM, Swin-B, 800 epochs: the baseline of simmim/aesimmim_swin-b_800e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/simmim_swin-b_800e.py 16 --data-root DIR
Needs:     as simmim/aesimmim_swin-b_800e.py
Expected:  no published figure for 192 pixels
"""

_base_ = '../simmim/aesimmim_swin-b_800e.py'

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
