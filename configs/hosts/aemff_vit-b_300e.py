"""AEMIM on MFF, ViT-B/16, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/hosts/aemff_vit-b_300e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 4096 (8 x 512)
Expected:  no published figure; MFF alone gives 83.0 top-1 after fine-tuning (mmpretrain)
"""

_base_ = ['mmpretrain::mff/mff_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', '../_base_/host.py']

model = dict(type='AEMFF')
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
