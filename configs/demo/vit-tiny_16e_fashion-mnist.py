"""Fine-tuning of the demo's encoder end to end, with 500 labelled images of Fashion-MNIST, 16 epochs.

Run:       python tools/train.py configs/demo/vit-tiny_16e_fashion-mnist.py
           from another encoder: --cfg-options model.backbone.init_cfg.checkpoint=CKPT
Needs:     a checkpoint of a pre-training in this folder, by default that of `make demo`; 20 seconds on 2 cores
Expected:  as in results/demo.json, on 2,000 test images
"""

_base_ = ['../_base_/demo_classifier.py', '../_base_/demo_fine_tuning.py']

train_dataloader = dict(batch_size=50, dataset=dict(limit=500))
