"""AEMIM on CIM with the settings of cim_vit-tiny_40e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/aecim_vit-tiny_40e_fashion-mnist.py
Needs:     as cim_vit-tiny_40e_fashion-mnist.py, and about 40 minutes on one core
Expected:  no measured figure yet
"""

_base_ = './cim_vit-tiny_40e_fashion-mnist.py'

model = dict(type='AECIM', data_preprocessor=dict(type='AdvDataPreprocessor', eps=2, steps=2))
