"""AEMIM on iBOT with the settings of ibot_vit-tiny_32e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/aeibot_vit-tiny_32e_fashion-mnist.py
Needs:     a CPU, and about 40 minutes on one core
Expected:  no measured figure yet
"""

_base_ = './ibot_vit-tiny_32e_fashion-mnist.py'

model = dict(type='AEIBOT', data_preprocessor=dict(type='AdvDataPreprocessor', eps=2, steps=2))
