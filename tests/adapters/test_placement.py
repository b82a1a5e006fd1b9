"""Which layers an adapter is in."""

import pytest

from aemim_mm import split_adapters
from aemim_mm.adapters import adapted_layers
from aemim_mm.adapters.placement import chosen_layers, transformer_layers
from aemim_mm.errors import UserError


def deep(tiny, layers=6):
    config = dict(type='VisionTransformer', arch=dict(tiny.ARCH, num_layers=layers), img_size=32, patch_size=8)
    return tiny.build(config, init=False)


@pytest.mark.parametrize(
    ('layers', 'expected'),
    [
        ([0, 3], [0, 3]),
        ((5,), [5]),
        (dict(first=2), [0, 1]),
        (dict(last=2), [4, 5]),
        (dict(every=2), [1, 3, 5]),
        (dict(every=4), [3]),
        (dict(last=6), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_layers_are_chosen_by_rule_or_number(tiny, layers, expected):
    model = deep(tiny)
    assert chosen_layers(model, layers) == [model.layers[number] for number in expected]
    split_adapters(model, dict(type='norm', layers=layers))
    assert list(adapted_layers(model)) == [f'layers.{number}.ln{norm}' for number in expected for norm in (1, 2)]


@pytest.mark.parametrize(
    'layers',
    [[6], [-1], [], ['0'], [True], 3, 'last', dict(last=7), dict(first=0), dict(end=1), dict(first=1, last=1), {}],
)
def test_a_bad_choice_is_one_clear_error(tiny, layers):
    with pytest.raises(UserError, match='numbers from 0 to 5, .* with n from 1 to 6, but got'):
        chosen_layers(deep(tiny), layers)


def test_a_model_without_layers_has_none_to_choose(tiny):
    with pytest.raises(UserError, match='PatchEmbed has none. Leave layers out'):
        chosen_layers(deep(tiny).patch_embed, dict(last=1))


def test_layers_of_swin_are_counted_through_its_stages(tiny):
    model = tiny.build(tiny.SWIN, init=False)
    assert list(transformer_layers(model)) == [f'stages.{stage}.blocks.{block}' for stage in (0, 1) for block in (0, 1)]
