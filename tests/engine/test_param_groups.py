"""Merged parameter groups train as one group for each parameter, and load the checkpoints of both."""

from copy import deepcopy

import pytest
import torch
from helpers import faults, runs, tiny
from mmengine.config import Config
from mmengine.optim import (
    CosineAnnealingLR,
    DefaultOptimWrapperConstructor,
    LinearLR,
    OptimWrapper,
    build_optim_wrapper,
)

from aemim_mm.engine.param_groups import regroup
from aemim_mm.errors import UserError

ONE_EACH = 'optim_wrapper.constructor=DefaultOptimWrapperConstructor'
# Of another learning rate, so that a schedule with another group's base value would show.
TOKEN = 'optim_wrapper.paramwise_cfg.custom_keys.cls_token.lr_mult=0.3'
WRAPPER = Config.fromfile(runs.AEMIM).optim_wrapper


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Two epochs with merged groups, and two with one group for each parameter."""
    folders = {}
    for name, options in (('merged', ()), ('one each', (ONE_EACH,))):
        folders[name] = tmp_path_factory.mktemp(name.replace(' ', '_'))
        runs.train(runs.AEMIM, folders[name], options=(TOKEN, *options), epochs=2)
    return folders


def load(path):
    return torch.load(path, map_location='cpu', weights_only=False)


def test_both_train_to_the_same_weights(trained):
    first, second = (load(folder / 'epoch_2.pth') for folder in trained.values())
    faults._assert_same(first['state_dict'], second['state_dict'], 'weights')
    count = sum(len(group['params']) for group in first['optimizer']['param_groups'])
    assert len(first['optimizer']['param_groups']) <= 5 and len(second['optimizer']['param_groups']) == count > 50


@pytest.mark.parametrize(('saved_by', 'options'), [('one each', ()), ('merged', (ONE_EACH,))])
def test_each_resumes_from_the_other_bit_for_bit(trained, saved_by, options, tmp_path):
    checkpoint = trained[saved_by] / 'epoch_1.pth'
    runs.train(runs.AEMIM, tmp_path, '--resume', checkpoint, options=(TOKEN, *options), epochs=2)
    unbroken = trained['one each' if options else 'merged']
    got, expected = (load(folder / 'epoch_2.pth') for folder in (tmp_path, unbroken))
    for groups in (got, expected):
        for group in groups['optimizer']['param_groups']:
            group.pop('merged_from', None)
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        faults._assert_same(got[part], expected[part], part)


def wrapper_of(constructor, **token):
    settings = tiny.merged(WRAPPER, dict(constructor=constructor))
    settings['paramwise_cfg']['custom_keys']['cls_token'].update(token or dict(lr_mult=0.3))
    return build_optim_wrapper(tiny.build(tiny.aemim()), settings)


def checkpoint_of(wrapper, steps=3):
    """A checkpoint after some steps with random gradients; every value differs from every other."""
    generator = torch.Generator().manual_seed(0)
    schedules = [LinearLR(wrapper, start_factor=0.1, end=4), CosineAnnealingLR(wrapper, T_max=4, begin=2)]
    for _ in range(steps):
        for group in wrapper.optimizer.param_groups:
            for value in group['params']:
                value.grad = torch.randn(value.shape, generator=generator)
        wrapper.step()
        for schedule in schedules:
            schedule.step()
    return deepcopy(
        dict(optimizer=wrapper.state_dict(), param_schedulers=[schedule.state_dict() for schedule in schedules])
    )


def test_state_and_base_values_stay_with_their_parameter():
    old, new = (wrapper_of(name) for name in ('DefaultOptimWrapperConstructor', 'MergedOptimWrapperConstructor'))
    checkpoint = checkpoint_of(old)
    expected = {}
    for number, group in enumerate(old.optimizer.param_groups):
        (value,) = group['params']
        bases = [schedule['base_values'][number] for schedule in checkpoint['param_schedulers']]
        lasts = [schedule['_last_value'][number] for schedule in checkpoint['param_schedulers']]
        expected[number] = group['lr'], group['weight_decay'], bases, lasts, old.optimizer.state[value]['exp_avg']
    regroup(checkpoint, new)
    new.load_state_dict(deepcopy(checkpoint['optimizer']))
    seen = []
    for place, group in enumerate(new.optimizer.param_groups):
        for number, value in zip(group['merged_from'], group['params'], strict=True):
            bases, lasts = (
                [schedule[name][place] for schedule in checkpoint['param_schedulers']]
                for name in ('base_values', '_last_value')
            )
            lr, decay, *rest, moment = expected[number]
            assert (group['lr'], group['weight_decay'], [bases, lasts]) == (lr, decay, rest)
            assert torch.equal(new.optimizer.state[value]['exp_avg'], moment)
            seen.append(number)
    assert sorted(seen) == list(range(len(old.optimizer.param_groups)))
    # mmengine's extra group, for the base learning rate, is the last.
    for schedule in checkpoint['param_schedulers']:
        assert len(schedule['base_values']) == len(new.param_groups) and schedule['base_values'][-1] == 1e-3


def test_groups_of_the_same_kind_are_left_alone():
    for name in ('DefaultOptimWrapperConstructor', 'MergedOptimWrapperConstructor'):
        checkpoint = checkpoint_of(wrapper_of(name))
        before = deepcopy(checkpoint)
        regroup(checkpoint, wrapper_of(name))
        faults._assert_same(checkpoint, before, 'checkpoint')
    weights_alone = dict(state_dict={})
    regroup(weights_alone, wrapper_of('MergedOptimWrapperConstructor'))
    assert weights_alone == dict(state_dict={})


def test_one_group_with_other_settings_in_the_checkpoint_is_an_error():
    checkpoint = checkpoint_of(wrapper_of('DefaultOptimWrapperConstructor'))
    with pytest.raises(UserError, match='has lr=.* and lr=.* for parameters that have equal settings'):
        regroup(checkpoint, wrapper_of('MergedOptimWrapperConstructor', decay_mult=0.0))


def test_the_groups_of_another_model_are_an_error():
    checkpoint = checkpoint_of(wrapper_of('DefaultOptimWrapperConstructor'))
    wrapper = build_optim_wrapper(tiny.build(tiny.mae()), tiny.merged(WRAPPER, {}))
    with pytest.raises(UserError, match='parameter groups, which are not those of the 3 groups'):
        regroup(checkpoint, wrapper)


def test_without_settings_for_parameters_there_is_one_group_as_in_mmengine():
    model = tiny.build(tiny.aemim())
    settings = dict(optimizer=dict(type='AdamW', lr=1.0), constructor='MergedOptimWrapperConstructor')
    wrapper = build_optim_wrapper(model, settings)
    assert isinstance(wrapper, OptimWrapper) and len(wrapper.optimizer.param_groups) == 1
    assert 'merged_from' not in wrapper.optimizer.param_groups[0]


def test_settings_equal_the_default_constructors():
    """The settings of each parameter, on a model with frozen parameters and many kinds of settings."""
    model = tiny.build(tiny.aemim())
    model.backbone.layers[0].requires_grad_(False)
    paramwise = dict(bias_lr_mult=2.0, norm_decay_mult=0.5, custom_keys={'mask_token': dict(decay_mult=0.1)})
    config = dict(optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.5), paramwise_cfg=paramwise)
    of = []
    for constructor in (DefaultOptimWrapperConstructor.__name__, 'MergedOptimWrapperConstructor'):
        groups = build_optim_wrapper(model, dict(config, constructor=constructor)).optimizer.param_groups
        of.append({id(v): (group['lr'], group['weight_decay']) for group in groups for v in group['params']})
    assert of[0] == of[1] and len(groups) < 7
