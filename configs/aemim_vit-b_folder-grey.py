"""AEMIM on MAE, ViT-B/16 of one channel, a folder of your own unlabelled grey images, 300 epochs.

Run:       python tools/train.py configs/aemim_vit-b_folder-grey.py --data-root DIR
Needs:     DIR with images at any depth; colour images are converted to grey, and 16-bit images to 8 bits
Expected:  loss_clean falls throughout; attack_gain stays above 1.5

The same changes give one channel to another pre-training config. mean and std are those of ImageNet in grey; set your
own, in pixels, 0-255.
"""

_base_ = './aemim_vit-b_folder.py'

model = dict(backbone=dict(in_channels=1), neck=dict(in_chans=1), head=dict(in_channels=1))
data_preprocessor = dict(mean=[117.0], std=[57.0], to_rgb=False)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadWholeImage', color_type='grayscale'),
            dict(
                type='RandomResizedCrop',
                scale=224,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs'),
        ]
    )
)
