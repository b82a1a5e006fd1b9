"""AEMIM with random noise in the place of the attack, ViT-B/16, ImageNet-1K, 800 epochs.

Run:       tools/dist_train.sh configs/baselines/noise_vit-b_800e.py 8 --data-root DIR
Needs:     as aemim_vit-b_800e.py
Expected:  no published figure

The second branch gets images with uniform noise of the attack's size. All else is as in aemim_vit-b_800e.py.
"""

_base_ = '../aemim_vit-b_800e.py'

data_preprocessor = dict(steps=0, start='uniform')
# Noise is what is wanted here.
custom_hooks = [
    dict(type='PanelHook', interval=50),
    dict(type='InstrumentsHook', interval=5, thresholds=dict(stale=None, small_budget=None)),
]
