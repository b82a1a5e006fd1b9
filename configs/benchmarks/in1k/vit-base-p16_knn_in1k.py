"""Weighted 20-nearest-neighbour classification of ImageNet-1K by frozen features of ViT-B/16.

Run:       tools/dist_test.sh configs/benchmarks/in1k/vit-base-p16_knn_in1k.py CKPT 8 --data-root DIR
Needs:     a checkpoint of AEMIM or MAE; ImageNet-1K, with DIR/{train,val}/<class>/*.JPEG. One pass over all images, and
           4 GB of memory on each GPU for the features of the training images
Expected:  no published figure for AEMIM

The feature is the mean patch token. Nothing is trained: train_dataloader gives the neighbours.
"""

_base_ = './vit-base-p16_8xb128-coslr-100e_in1k.py'

model = dict(
    _delete_=True,
    type='KNNClassifier',
    backbone=dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16, out_type='featmap'),
    neck=dict(type='GlobalAveragePooling'),
    k=20,
    temperature=0.07,
)
train_dataloader = dict(sampler=dict(shuffle=False), dataset=dict(pipeline={{_base_.test_pipeline}}))
custom_hooks = [dict(type='FeatureBankHook')]
