"""AEMIM on MILAN, ViT-B/16, ImageNet-1K, 400 epochs.

Run:       tools/dist_train.sh configs/hosts/aemilan_vit-b_400e.py 16 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 4096 (16 x 256);
           the weights of OpenAI's CLIP (ViT-B/16), which are downloaded. Without a network, add
           --cfg-options model.target_generator.tokenizer_path=FILE.
Expected:  no published figure; MILAN alone gives 85.3 top-1 after fine-tuning (mmpretrain)
"""

_base_ = ['mmpretrain::milan/milan_vit-base-p16_16xb256-amp-coslr-400e_in1k.py', '../_base_/host.py']

# mmpretrain's config leaves the decoder at the width of a ViT-L, with which no step runs.
model = dict(type='AEMILAN', neck=dict(embed_dim=768))
data_preprocessor = dict(type='AdvDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
# The learning rate is for this batch size. mmpretrain's config says 2048.
auto_scale_lr = dict(base_batch_size=4096)
