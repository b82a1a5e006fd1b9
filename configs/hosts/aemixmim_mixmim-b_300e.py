"""AEMIM on MixMIM, MixMIM-B, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/hosts/aemixmim_mixmim-b_300e.py 16 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 2048 (16 x 128)
Expected:  no published figure; MixMIM alone gives 84.6 top-1 after fine-tuning (mmpretrain)
"""

_base_ = ['mmpretrain::mixmim/mixmim_mixmim-base_16xb128-coslr-300e_in1k.py', '../_base_/host.py']

model = dict(type='AEMixMIM')
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
