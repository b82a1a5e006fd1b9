"""reduced_1x.py with the detector of test_detector_robustness.py."""

_base_ = './reduced_1x.py'

model = dict(_delete_=True, type='Seeing', bbox_head=dict(num_classes=80))
