"""AEMIM on SparK, ConvNeXt-S, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/hosts/aespark_sparse-convnext-s_800e.py 16 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 4096 (16 x 256)
Expected:  no published figure, nor in mmpretrain for SparK alone
"""

_base_ = ['mmpretrain::spark/spark_sparse-convnext-small_16xb256-amp-coslr-800e_in1k.py', '../_base_/host.py']

model = dict(type='AESparK')
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
optim_wrapper = dict(optim_wrapper, optimizer=dict(type='Lamb'))
# The base config has none.
auto_scale_lr = dict(base_batch_size=4096)
