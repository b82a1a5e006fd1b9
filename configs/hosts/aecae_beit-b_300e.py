"""AEMIM on CAE, ViT-B/16, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/hosts/aecae_beit-b_300e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 2048 (8 x 256);
           the weights of OpenAI's DALL-E, which are downloaded. Without a network, add
           --cfg-options model.target_generator.init_cfg.checkpoint=FILE.
Expected:  no published figure; CAE alone gives 83.2 top-1 after fine-tuning (mmpretrain)
"""

_base_ = ['mmpretrain::cae/cae_beit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/host.py']

model = dict(type='AECAE')
data_preprocessor = dict(type='AdvTwoNormDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
