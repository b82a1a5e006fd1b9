"""iTPN (pixels), HiViT-B, 800 epochs: the baseline of hosts/aeitpn-pixel_hivit-b_800e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/itpn-pixel_hivit-b_800e.py 8 --data-root DIR
Needs:     as hosts/aeitpn-pixel_hivit-b_800e.py
Expected:  no published figure in mmpretrain
"""

_base_ = '../hosts/aeitpn-pixel_hivit-b_800e.py'

model = dict(type='iTPN')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=('mask',))
