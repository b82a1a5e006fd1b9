"""AEMIM on MAE, ViT-B/16, ImageNet-1K, 800 epochs, for GPUs with less memory: gradients of 4 batches are added up.

Run:       tools/dist_train.sh configs/aemim-accumulate_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, on 8 GPUs of 24 GB: batch 4096 in all (8 x 128 x 4)
Expected:  as aemim_vit-b_800e.py

An epoch of ImageNet-1K is 1252 iterations, so 313 updates: none is lost at a checkpoint, which holds no half-added
gradients. Where it is not divisible, mmengine goes on adding over the end of an epoch, and makes the last update of
the training from what is left. --auto-scale-lr counts all 4 batches.
"""

_base_ = './aemim_vit-b_800e.py'

train_dataloader = dict(batch_size=128)
optim_wrapper = dict(accumulative_counts=4)
