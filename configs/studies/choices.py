"""Study: the choices that the paper leaves open, one at a time: adapters, weight, target, mask, distance, decoder.

Run:       python tools/study.py configs/studies/choices.py
Needs:     data/fashion-mnist, as in docs/studies.md; a CPU, and about 1.5 hours on 2 cores
Expected:  no measured figure yet

The network and the 4,000 images are the demo's. To save time, there are 10 epochs, and `base` is the preset `balanced`
of docs/performance.md with eps 32, the budget of headline.py. Each other method differs from it in one choice. Four
pairs show large differences only; a default is kept unless one is seen.

Each encoder is fine-tuned with 500 labelled images; two are also fine-tuned from their adversarial adapters. Probes
have 10,000 training images. Accuracies are on all 10,000 test images, and under attack on 500.
"""

_aemim = '../demo/aemim_vit-tiny_16e_fashion-mnist.py'


def _adapters(*kinds):
    return [f'model.backbone.adapters=[{",".join(kinds)}]']


methods = {
    name: dict(config=_aemim, options=options)
    for name, options in {
        'base': [],
        # A model without adapters still has a prediction layer for each domain.
        'no-adapters': ['model.backbone.adapters=()', 'model.adapters=()'],
        'norm': _adapters('norm'),
        'lora': _adapters('norm', 'cls_token', 'dict(type=lora,rank=8)'),
        'bottleneck': _adapters('norm', 'cls_token', 'dict(type=bottleneck,width=32)'),
        'mlp': _adapters('norm', 'cls_token', 'dict(type=parallel_mlp,width=32)'),
        'shared-decoder': ['model.decoder=shared'],
        'weight-2': ['model.adv_weight=2.0'],
        # The weight rises from 0 to 1 in the first half of the training.
        'weight-ramp': ['model.adv_weight=[(0,0),(0.5,1)]'],
        'target-clean': ['model.adv_target=clean'],
        'mask-none': ['model.attack_mask=none'],
        'cosine': ['model.distance=cosine'],
        'reconstruction': ['model.attack_objective=reconstruction', 'model.attack_layers=None'],
    }.items()
}
baseline = 'base'
seeds = list(range(4))
options = [
    'train_cfg.max_epochs=10',
    'param_scheduler.1.T_max=8',
    'param_scheduler.1.end=10',
    'model.data_preprocessor.eps=32',
    'model.data_preprocessor.steps=1',
    'model.data_preprocessor.step_size=40',
    'model.adv_share=0.5',
    'model.attack_layers=2',
    'model.neck.decode_share=0.5',
]

_data = [f'{name}_dataloader.dataset.data_root=data/fashion-mnist' for name in ('train', 'val', 'test')]
fine_tuning = dict(
    config='../demo/vit-tiny_16e_fashion-mnist.py',
    options=[*_data, 'train_dataloader.dataset.indices=10000'],
    suites=['demo'],
    only=['pgd/8'],
)
# The encoder as it sees adversarial images in the pre-training: with the adapters of that domain.
other_tunings = {
    'adversarial-adapters': dict(**fine_tuning, methods=['base', 'lora'], domain='adv'),
}
attacked_images = 500
primary = 'pgd_8'
