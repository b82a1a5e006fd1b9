"""iTPN (CLIP), HiViT-B, 300 epochs: the baseline of hosts/aeitpn-clip_hivit-b_300e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/itpn-clip_hivit-b_300e.py 8 --data-root DIR
Needs:     as hosts/aeitpn-clip_hivit-b_300e.py
Expected:  no published figure in mmpretrain
"""

_base_ = '../hosts/aeitpn-clip_hivit-b_300e.py'

model = dict(type='iTPN')
data_preprocessor = dict(type='BatchTwoNormDataPreprocessor', sample_fields=('mask',))
