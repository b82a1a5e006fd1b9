"""SparK, ConvNeXt-S, 800 epochs: the baseline of hosts/aespark_sparse-convnext-s_800e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/spark_sparse-convnext-s_800e.py 16 --data-root DIR
Needs:     as hosts/aespark_sparse-convnext-s_800e.py
Expected:  no published figure in mmpretrain
"""

_base_ = '../hosts/aespark_sparse-convnext-s_800e.py'

model = dict(type='SparK')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())
