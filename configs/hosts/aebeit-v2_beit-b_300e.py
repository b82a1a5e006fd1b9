"""AEMIM on BEiT v2, ViT-B/16, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/hosts/aebeit-v2_beit-b_300e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 2048 (8 x 256);
           the weights of BEiT v2's VQ-KD, which are downloaded. Without a network, add
           --cfg-options model.target_generator.init_cfg.checkpoint=FILE.
Expected:  no published figure; BEiT v2 alone gives 85.0 top-1 after fine-tuning (mmpretrain)
"""

_base_ = ['mmpretrain::beitv2/beitv2_beit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/host.py']

# mmpretrain's tokenizer learns in each training step. A decay of 1 keeps it as it is, also in the baseline.
model = dict(type='AEBEiT', target_generator=dict(decay=1.0))
data_preprocessor = dict(type='AdvTwoNormDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
