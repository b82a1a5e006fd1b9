"""AEMIM on MaskFeat, ViT-B/16, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/hosts/aemaskfeat_vit-b_300e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 2048 (8 x 256)
Expected:  no published figure; MaskFeat alone gives 83.4 top-1 after fine-tuning (mmpretrain)
"""

_base_ = ['mmpretrain::maskfeat/maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/host.py']

model = dict(type='AEMaskFeat', target_generator=dict(type='Float32HOGGenerator'))
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
