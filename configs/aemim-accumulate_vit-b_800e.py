"""AEMIM on MAE, ViT-B/16, ImageNet-1K, 800 epochs, for GPUs with less memory: it accumulates gradients of 4 batches.

Run:       tools/dist_train.sh configs/aemim-accumulate_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, on 8 GPUs of 24 GB: batch 4096 in all (8 x 128 x 4)
Expected:  as aemim_vit-b_800e.py

An epoch of ImageNet-1K has 1252 iterations, hence exactly 313 updates, and a checkpoint loses no gradient. If the
number of iterations is not a multiple of 4, mmengine accumulates across the end of an epoch, and makes the last update
of the training from the remaining gradients. --auto-scale-lr counts all 4 batches.
"""

_base_ = './aemim_vit-b_800e.py'

train_dataloader = dict(batch_size=128)
optim_wrapper = dict(accumulative_counts=4)
