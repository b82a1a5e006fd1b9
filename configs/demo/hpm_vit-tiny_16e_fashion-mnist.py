"""HPM with the encoder, decoder, data and epochs of aemim_vit-tiny_16e_fashion-mnist.py.

Run:       python tools/train.py configs/demo/hpm_vit-tiny_16e_fashion-mnist.py
Needs:     a CPU, and 3 to 5 minutes on one core
Expected:  linear probe and 20-NN as HPM's in results/demo_hpm.json, by tools/analysis_tools/probe.py

The training has 512 steps, so the teacher follows faster than on ImageNet. The images have 16 patches, so fewer of the
hidden ones are hard: at last a quarter, not a half.
"""

_base_ = './aemim_vit-tiny_16e_fashion-mnist.py'

model = dict(
    type='HPM',
    backbone=dict(adapters=()),
    neck=dict(type='HPMDecoder'),
    head=dict(type='HPMHead'),
    hard_share=[(0, 0.0), (1, 0.25)],
    momentum=0.95,
    data_preprocessor=dict(_delete_=True, type='BatchDataPreprocessor', sample_fields=(), mean=[73.0], std=[90.0]),
)
