"""AEMIM on MAE, the demo's ViT for 64 x 64 pixels, a folder of your own unlabelled images, 50 epochs.

Run:       python tools/train.py configs/demo/aemim_vit-tiny_50e_folder.py --data-root DIR
Needs:     DIR with 50 images or more, at any depth; a CPU, and about 20 minutes of one core for 2,000
           images
Expected:  loss_clean falls throughout

It shows the way on any machine. The config configs/aemim_vit-b_folder.py makes an encoder to use.
"""

_base_ = '../_base_/folder_vit.py'

model = dict(
    type='AEMIM',
    backbone=dict(type='AEMIMViT'),
    neck=dict(type='AEMIMDecoder', img_size=64),
    head=dict(type='AEMIMHead'),
    # See docs/evidence.md for the budget of small images.
    data_preprocessor=dict(type='AdvDataPreprocessor', eps=16, steps=2),
)
custom_hooks = [
    dict(type='PanelHook', interval=10),
    dict(type='InstrumentsHook', interval=10, num_images=50),
    dict(type='UnreadableImagesHook'),
]
