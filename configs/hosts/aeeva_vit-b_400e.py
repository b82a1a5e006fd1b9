"""AEMIM on EVA (MAE-style), ViT-B/16, ImageNet-1K, 400 epochs.

Run:       tools/dist_train.sh configs/hosts/aeeva_vit-b_400e.py 16 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 4096 (16 x 256);
           the weights of OpenAI's CLIP (ViT-B/16), which are downloaded. Without a network, add
           --cfg-options model.target_generator.tokenizer_path=FILE.
Expected:  no published figure; EVA alone gives 83.7 top-1 after fine-tuning (mmpretrain)
"""

_base_ = ['mmpretrain::eva/eva-mae-style_vit-base-p16_16xb256-coslr-400e_in1k.py', '../_base_/host.py']

model = dict(type='AEEVA')
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
