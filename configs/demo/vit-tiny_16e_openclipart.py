"""Fine-tuning of an encoder of the drawings end to end, with 1,688 labelled drawings, 16 epochs.

Run:       python tools/train.py configs/demo/vit-tiny_16e_openclipart.py
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     the drawings, and a checkpoint of a pre-training on them, by default of aemim_vit-tiny_16e_openclipart.py; 3
           minutes on one core
Expected:  no measured figure yet
"""

_base_ = ['../_base_/study_openclipart_classifier.py', '../_base_/demo_fine_tuning.py']

train_dataloader = dict(batch_size=50)
