"""AEMIM on iTPN (CLIP), HiViT-B, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/hosts/aeitpn-clip_hivit-b_300e.py 8 --data-root DIR
Needs:     ImageNet-1K, with DIR/train/<class>/*.JPEG; total batch size 2048 (8 x 256);
           the weights of OpenAI's CLIP (ViT-B/16), which are downloaded. Without a network, add
           --cfg-options model.target_generator.tokenizer_path=FILE.
Expected:  no published figure, nor in mmpretrain for iTPN alone
"""

_base_ = ['mmpretrain::itpn/itpn-clip-b_hivit-base-p16_8xb256-amp-coslr-300e_in1k.py', '../_base_/host.py']

model = dict(type='AEiTPN')
data_preprocessor = dict(type='AdvTwoNormDataPreprocessor')

train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts
