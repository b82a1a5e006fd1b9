"""AEMIM on MAE, ViT-B/16, 800 epochs, cheaper than the paper: at most the time of MAE.

Run:       tools/dist_train.sh configs/aemim-fast_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py, in less time: see docs/performance.md
Expected:  no published figure. On the demo's data, fine-tuned accuracy as with the paper's settings, but about 2.5
           points less in a linear probe and in 20-NN of frozen features: see docs/performance.md

A quarter of each batch is attacked, in one step through a third of the encoder's layers. A third of the hidden patches
are decoded.
"""

_base_ = './aemim-balanced_vit-b_800e.py'

model = dict(adv_share=0.25, attack_layers=4, neck=dict(decode_share=1 / 3))
