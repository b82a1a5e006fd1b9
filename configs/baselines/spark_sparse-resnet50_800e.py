"""SparK, ResNet-50, 800 epochs: the baseline of hosts/aespark_sparse-resnet50_800e.py. Only the method differs.

Run:       tools/dist_train.sh configs/baselines/spark_sparse-resnet50_800e.py 8 --data-root DIR
Needs:     as hosts/aespark_sparse-resnet50_800e.py
Expected:  80.1 top-1 after fine-tuning (mmpretrain)
"""

_base_ = '../hosts/aespark_sparse-resnet50_800e.py'

model = dict(type='SparK')
data_preprocessor = dict(type='BatchDataPreprocessor', sample_fields=())
