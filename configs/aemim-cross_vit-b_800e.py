"""AEMIM on MAE, ViT-B/16, 800 epochs, with CrossMAE's decoder: hidden patches attend to the encoder's tokens only.

Run:       tools/dist_train.sh configs/aemim-cross_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in less time: see docs/performance.md
Expected:  no published figure. CrossMAE (arXiv 2401.14391) alone reports the accuracy of MAE or more

It decodes a third of the hidden patches, which is a quarter of all patches.
"""

_base_ = './aemim_vit-b_800e.py'

model = dict(neck=dict(_delete_=True, type='AEMIMCrossDecoder', decode_share=1 / 3))
