"""AEMIM on HPM with the settings of hpm_vit-tiny_16e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/aehpm_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU, and 6 to 10 minutes on one core
Expected:  no measured figure yet
"""

_base_ = './hpm_vit-tiny_16e_fashion-mnist.py'

model = dict(type='AEHPM', data_preprocessor=dict(type='AdvDataPreprocessor', eps=2, steps=2))
