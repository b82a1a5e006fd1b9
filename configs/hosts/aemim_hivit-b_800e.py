"""AEMIM on MAE, HiViT-B, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/hosts/aemim_hivit-b_800e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 4096 (8 x 512)
Expected:  no published figure, nor in mmpretrain for MAE alone

HiViT has no class token, and mmpretrain's decoder takes the first visible patch for one. The baseline does the same.
For the right positions, add --cfg-options model.neck.type=HiViTDecoder to both.
"""

_base_ = ['mmpretrain::mae/mae_hivit-base-p16_8xb512-amp-coslr-800e_in1k.py', '../_base_/host.py']

model = dict(type='AEMIM', head=dict(type='AEMIMHead'))  # The head draws the panels.
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
custom_hooks = [dict(type='PanelHook', interval=50), dict(type='InstrumentsHook', interval=5)]
