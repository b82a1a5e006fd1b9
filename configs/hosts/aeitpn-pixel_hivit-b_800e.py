"""AEMIM on iTPN (pixels), HiViT-B, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/hosts/aeitpn-pixel_hivit-b_800e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 4096 (8 x 512)
Expected:  no published figure, nor in mmpretrain for iTPN alone
"""

_base_ = ['mmpretrain::itpn/itpn-pixel_hivit-base-p16_8xb512-amp-coslr-800e_in1k.py', '../_base_/host.py']

model = dict(type='AEiTPN')
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
