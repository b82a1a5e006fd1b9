"""HPM (hard patches mining), ViT-B/16, ImageNet-1K, 800 epochs, in the settings of mae_vit-b_800e.py.

Run:       tools/dist_train.sh configs/baselines/hpm_vit-b_800e.py 8 --data-root DIR
Needs:     as mae_vit-b_800e.py
Expected:  84.2 top-1 after fine-tuning, 83.0 after 200 epochs (its authors; not reproduced here)

As in MAE's config, the pixels of each patch are normalised; the authors' scripts do not set this option. Their
instructions have batches of 2048 images, their scripts 256.
"""

_base_ = './mae_vit-b_800e.py'

max_epochs = 800

model = dict(
    type='HPM',
    backbone=dict(type='AEMIMViT', adapters=()),
    neck=dict(type='HPMDecoder'),
    head=dict(type='HPMHead'),
    hard_share=[(0, 0.0), (1, 0.5)],
    momentum=[(0, 0.999), (100 / max_epochs, 0.9999)],
)
