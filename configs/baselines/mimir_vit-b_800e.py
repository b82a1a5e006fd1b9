"""MIMIR, ViT-B/16, ImageNet-1K, 800 epochs, in the settings of mae_vit-b_800e.py.

Run:       tools/dist_train.sh configs/baselines/mimir_vit-b_800e.py 8 --data-root DIR
Needs:     as mae_vit-b_800e.py
Expected:  no published figure for these settings; see docs/baselines.md for its authors' figures

The attack is the authors': one step of 10 of 255 from a random start, within 8 of 255. The decoder is MAE's; theirs
has 2 layers of 128 channels. Their batches have 1024 images. For the budget of AEMIM, add --cfg-options
data_preprocessor.eps=2 data_preprocessor.step_size=2.
"""

_base_ = './mae_vit-b_800e.py'

model = dict(type='MIMIR', hsic_weight=1e-5)
data_preprocessor = dict(type='AdvDataPreprocessor', eps=8, steps=1, step_size=10)
