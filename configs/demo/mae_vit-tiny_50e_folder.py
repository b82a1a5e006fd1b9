"""MAE with the network, images and epochs of aemim_vit-tiny_50e_folder.py: its baseline.

Run:       python tools/train.py configs/demo/mae_vit-tiny_50e_folder.py --data-root DIR
Needs:     DIR with 50 images or more, at any depth; a CPU, and about 10 minutes of one core for 2,000
           images
Expected:  the loss falls throughout
"""

_base_ = '../_base_/folder_vit.py'

model = dict(
    type='MAE',
    backbone=dict(type='MAEViT'),
    neck=dict(type='MAEPretrainDecoder', num_patches=64),
    head=dict(type='MAEPretrainHead'),
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=()),
)
