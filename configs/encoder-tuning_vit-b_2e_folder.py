"""Make an encoder robust without labels, on a folder of images: ViT-B/16 or another encoder, 2 epochs.

Run:       tools/dist_train.sh configs/encoder-tuning_vit-b_2e_folder.py 8 --data-root DIR --cfg-options \
           model.encoder=CHECKPOINT
Needs:     CHECKPOINT, an encoder of this project, mmpretrain, timm, facebookresearch (MAE, DINO) or Hugging Face; DIR
           with images at any depth; total batch size 128 (8 x 16). With another one, add --auto-scale-lr
Expected:  moved_adv falls, and moved_clean stays far below it

Budget and steps of the attack, optimizer and epochs are FARE's (arXiv 2402.12336), which tunes CLIP on ImageNet.
Without a mean and std in the checkpoint, set data_preprocessor.mean and std. For encoders of another size, set
train_dataloader.dataset.pipeline.1.scale.
"""

_base_ = './aemim_vit-b_folder.py'

model = dict(_delete_=True, type='AdversarialEncoderTuning', encoder='encoder.pth')
# The normalisation is that of the encoder.
data_preprocessor = dict(_delete_=True, type='AdvDataPreprocessor', sample_fields=(), eps=4, steps=10, step_size=1)

train_dataloader = dict(batch_size=16)
optim_wrapper = dict(
    optimizer=dict(lr=1e-5, betas=(0.9, 0.999), weight_decay=1e-4),
)
auto_scale_lr = dict(base_batch_size=128)
train_cfg = dict(max_epochs=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=0.14, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=1.86, by_epoch=True, begin=0.14, end=2, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EncoderSpecHook'), dict(type='UnreadableImagesHook')]
