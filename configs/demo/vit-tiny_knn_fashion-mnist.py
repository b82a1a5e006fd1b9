"""Weighted 20-nearest-neighbour classification of the embedded Fashion-MNIST by frozen features.

Run:       python tools/test.py configs/demo/vit-tiny_knn_fashion-mnist.py work_dirs/demo/aemim/epoch_16.pth
Needs:     a checkpoint of a pre-training in this folder
Expected:  the 20-NN of results/demo.json
"""

_base_ = './vit-tiny-linear_16e_fashion-mnist.py'

model = dict(
    _delete_=True,
    type='KNNClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=192, num_layers=4, num_heads=6, feedforward_channels=768),
        img_size=28,
        patch_size=7,
        patch_cfg=dict(in_channels=1),
        out_type='featmap',
    ),
    neck=dict(type='GlobalAveragePooling'),
)
train_dataloader = dict(drop_last=False, sampler=dict(shuffle=False), dataset=dict(pipeline={{_base_.test_pipeline}}))
custom_hooks = [dict(type='FeatureBankHook')]
