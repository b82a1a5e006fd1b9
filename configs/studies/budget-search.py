"""Study: at which budget does AEMIM begin to matter? A search on two seeds, which no other study uses.

Run:       python tools/study.py configs/studies/budget-search.py
Needs:     data/fashion-mnist, as in docs/studies.md; a CPU, and about 2 hours on 2 cores
Expected:  as in docs/evidence.md

The network, the 4,000 images and the 16 epochs are the demo's. `mae-long` has as many epochs as the time of AEMIM pays
for, and so have the presets of docs/performance.md with eps 32, `balanced32` and `fast32`. `eps0` has two clean passes,
and `noise8` uniform noise in the place of the attack.
"""

_base_ = '../_base_/study_protocol.py'

_aemim = '../demo/aemim_vit-tiny_16e_fashion-mnist.py'
_mae = '../demo/mae_vit-tiny_16e_fashion-mnist.py'


def _attack(eps, steps=2):
    values = dict(eps=eps, steps=steps, step_size=eps / max(steps, 1))
    return dict(config=_aemim, options=[f'model.data_preprocessor.{name}={value}' for name, value in values.items()])


def _epochs(number):
    scheduler = dict(T_max=number - 2, end=number)
    return [f'train_cfg.max_epochs={number}', *(f'param_scheduler.1.{name}={end}' for name, end in scheduler.items())]


def _preset(share, decoded, epochs):
    attack = [
        'model.data_preprocessor.eps=32',
        'model.data_preprocessor.steps=1',
        'model.data_preprocessor.step_size=40',
    ]
    cheaper = [f'model.adv_share={share}', 'model.attack_layers=2', f'model.neck.decode_share={decoded}']
    return dict(config=_aemim, options=[*attack, *cheaper, *_epochs(epochs)])


methods = {
    'mae': dict(config=_mae),
    'mae-long': dict(config=_mae, options=_epochs(43)),
    **{f'eps{eps}': _attack(eps) for eps in (0, 2, 4, 8, 16, 32, 64)},
    'eps8-1step': _attack(8, steps=1),
    'eps8-4steps': _attack(8, steps=4),
    'eps32-1step': _attack(32, steps=1),
    'noise8': _attack(8, steps=0),
    # The second seed was left to headline.py, which has more of them.
    'balanced32': dict(_preset(0.5, 0.5, epochs=27), seeds=[100]),
    'fast32': dict(_preset(0.25, 1 / 3, epochs=34), seeds=[100]),
}
baseline = 'mae'
seeds = [100, 101]
# Test images for attacks and corruptions.
attacked_images = 500
primary = 'pgd_8'
