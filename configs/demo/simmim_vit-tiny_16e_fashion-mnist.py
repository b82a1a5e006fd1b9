"""SimMIM with the settings of aesimmim_vit-tiny_16e_fashion-mnist.py: its baseline.

Run:       python tools/train.py configs/demo/simmim_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU
Expected:  no measured figure yet
"""

_base_ = './aesimmim_vit-tiny_16e_fashion-mnist.py'

model = dict(
    type='SimMIM',
    data_preprocessor=dict(
        _delete_=True, type='BatchDataPreprocessor', sample_fields=('mask',), mean=[73.0], std=[90.0]
    ),
)
