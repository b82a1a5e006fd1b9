"""Study: two methods and two seeds on a few images, which shows that the machinery works. The figures mean nothing.

Run:       python tools/study.py configs/studies/smoke.py
Needs:     a CPU, and less than 2 minutes on 2 cores
Expected:  4 records in results/studies/smoke
"""

_small = ['model.backbone.arch.num_layers=1', 'train_dataloader.batch_size=16', 'train_dataloader.dataset.limit=64']

methods = dict(
    exact=dict(config='../demo/aemim_vit-tiny_16e_fashion-mnist.py'),
    mae=dict(config='../demo/mae_vit-tiny_16e_fashion-mnist.py'),
)
baseline = 'exact'
seeds = [0, 1]
options = [*_small, 'default_hooks.logger.interval=1', 'train_cfg.max_epochs=1']
fine_tuning = dict(
    config='../demo/vit-tiny_16e_fashion-mnist.py',
    options=[*_small, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'val_dataloader.dataset.limit=100'],
)
attacked_images = 20
primary = 'fine_tuned'
