"""CIM that tells replaced tokens (RevDet), ViT-B/16, ImageNet-1K, 300 epochs.

Run:       tools/dist_train.sh configs/baselines/cim-revdet_vit-b_300e.py 8 --data-root DIR
Needs:     as cim-respix_vit-b_300e.py
Expected:  no figure that we could verify
"""

_base_ = './cim-respix_vit-b_300e.py'

model = dict(head=dict(_delete_=True, type='RevDetHead', in_channels=768), enhancer_weight=10.0)
