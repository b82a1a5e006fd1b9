"""Study: two methods and two seeds on a few images, which shows that the machinery works. The figures mean nothing.

Run:       python tools/study.py configs/studies/smoke.py
Needs:     a CPU, and less than 2 minutes on 2 cores
Expected:  4 records in results/studies/smoke
"""

_few = ['train_dataloader.batch_size=16', 'train_dataloader.dataset.limit=64', 'train_cfg.max_epochs=1']
_small = ['model.backbone.arch.num_layers=1', *_few]
_tuning = dict(config='../demo/encoder-tuning_vit-tiny_4e_fashion-mnist.py', options=_few)

methods = {
    'exact': dict(config='../demo/aemim_vit-tiny_16e_fashion-mnist.py'),
    'mae-tuned': dict(config='../demo/mae_vit-tiny_16e_fashion-mnist.py', then=_tuning),
}
baseline = 'exact'
seeds = [0, 1]
options = [*_small, 'default_hooks.logger.interval=1']
_labelled = [*_small, 'train_cfg.val_interval=1', 'val_dataloader.dataset.limit=100']
fine_tuning = dict(
    config='../demo/vit-tiny_16e_fashion-mnist.py',
    options=_labelled,
    suites=['demo', 'encoder'],
    only=['pgd/*', '*/3', 'features/*'],
)
other_tunings = {
    'PGD-AT': dict(
        config='../demo/vit-tiny-pgd-at_16e_fashion-mnist.py', options=_labelled, suites=['demo'], only=['pgd/8']
    ),
    'adversarial-adapters': dict(
        config='../demo/vit-tiny_16e_fashion-mnist.py', options=_labelled, methods=['exact'], domain='adv'
    ),
}
pretrained = dict(suites=['encoder'], only=['reconstruction/8'], images=10, epochs=[1])
attacked_images = 20
margin = 5.0
primary = 'fine_tuned'
