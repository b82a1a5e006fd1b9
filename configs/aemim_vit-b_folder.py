"""AEMIM on MAE, ViT-B/16, a folder of your own unlabelled images, 300 epochs.

Run:       python tools/train.py configs/aemim_vit-b_folder.py --data-root DIR
           on 8 GPUs: tools/dist_train.sh configs/aemim_vit-b_folder.py 8 --data-root DIR
Needs:     DIR with images at any depth. Broken images are skipped, counted, and listed in unreadable_images.txt
Expected:  loss_clean falls throughout; attack_gain stays above 1.5

To start from a MAE checkpoint (of mmpretrain or of this project), add `--cfg-options load_from=CHECKPOINT`. The
adversarial adapters then start equal to the clean ones.
"""

_base_ = './aemim_vit-b_800e.py'

train_dataloader = dict(
    batch_size=128,
    dataset=dict(_delete_=True, type='UnlabelledFolder', data_root='data/images', pipeline={{_base_.train_pipeline}}),
)
# A measurement costs about as much as the training on as many images.
custom_hooks = [
    dict(type='PanelHook', interval=10),
    dict(type='InstrumentsHook', interval=10, num_images=128),
    dict(type='UnreadableImagesHook'),
]

# MAE's learning rate: 1.5e-4 for 256 images.
optim_wrapper = dict(optimizer=dict(lr=1.5e-4 * 128 / 256))
auto_scale_lr = dict(base_batch_size=128)

train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=280, by_epoch=True, begin=20, end=300, convert_to_iter_based=True),
]
# --resume continues an interrupted run.
resume = False
