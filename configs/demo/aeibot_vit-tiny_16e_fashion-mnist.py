"""AEMIM on iBOT with the settings of ibot_vit-tiny_16e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/aeibot_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU, and about 20 minutes on one core
Expected:  as ibot_vit-tiny_16e_fashion-mnist.py
"""

_base_ = './ibot_vit-tiny_16e_fashion-mnist.py'

model = dict(type='AEIBOT', data_preprocessor=dict(type='AdvDataPreprocessor', eps=2, steps=2))
