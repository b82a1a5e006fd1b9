"""A loss that is not finite stops training, and the error names its origin."""

from copy import deepcopy

import pytest
import torch
from mmengine.optim import OptimWrapper

from aemim_mm.models import NonFiniteLossError

HUGE = 3e38  # Finite, but overflows when multiplied or summed.


def poison(model, name, value):
    with torch.no_grad():
        model.get_parameter(name).fill_(value)


def train_step(model, pixels):
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters()))
    return model.train_step(dict(inputs=pixels, data_samples=None), optimizer)


@pytest.mark.parametrize('value', [float('inf'), float('nan')])
@pytest.mark.parametrize('name', ['backbone.layers.1.ffn.layers.1.weight', 'backbone.cls_token_adv', 'neck.mask_token'])
def test_broken_weights_are_named(tiny, name, value):
    model = tiny.build(tiny.aemim())
    poison(model, name, value)
    with pytest.raises(NonFiniteLossError, match=f'the weights hold such values, first in {name}\\.'):
        model.loss(tiny.images(model), None)


@pytest.mark.parametrize(
    ('name', 'module'),
    [
        ('backbone.layers.1.ln2.weight', 'backbone.layers.1.ln2'),
        ('backbone.layers.0.ffn.layers.0.0.weight', 'backbone.layers.0.ffn.layers.0.0'),
        ('neck.decoder_pred.weight', 'neck.decoder_pred'),
    ],
)
def test_the_module_that_overflows_in_the_clean_pass_is_named(tiny, name, module):
    model = tiny.build(tiny.aemim())
    poison(model, name, HUGE)
    with pytest.raises(NonFiniteLossError, match=f'it began in {module}, in the clean pass'):
        model.loss(tiny.images(model), None)


@pytest.mark.parametrize(
    ('name', 'module'),
    [
        ('backbone.layers.0.ln2.weight_adv', 'backbone.layers.0.ln2'),
        ('backbone.ln1.weight_adv', 'backbone.ln1'),
        ('neck.decoder_pred.weight_adv', 'neck.decoder_pred'),
    ],
)
def test_the_module_that_overflows_in_the_adversarial_pass_is_named(tiny, name, module):
    model = tiny.build(tiny.aemim())
    poison(model, name, HUGE)
    with pytest.raises(NonFiniteLossError, match=f'it began in {module}, in the adversarial pass'):
        model.loss(tiny.images(model), None)


def test_simmim_is_diagnosed_too(tiny):
    model = tiny.build(tiny.aesimmim())
    poison(model, 'backbone.norm1.weight_adv', HUGE)
    with pytest.raises(NonFiniteLossError, match='it began in backbone.norm1, in the adversarial pass'):
        model.loss(tiny.images(model), tiny.mask_samples())


@pytest.mark.parametrize('value', [float('inf'), float('nan')])
def test_broken_images_are_named(tiny, value):
    model = tiny.build(tiny.aemim())
    images = tiny.images(model)
    images[2] = value
    with pytest.raises(NonFiniteLossError, match='the images themselves hold such values'):
        model.loss(images, None)


def test_iteration_losses_and_the_way_on_are_named(tiny, no_progress):
    no_progress.update_info('iter', 41)
    model = tiny.build(tiny.aemim())
    poison(model, 'neck.decoder_pred.weight_adv', HUGE)
    message = r'at iteration 42 \(loss_clean \d\.\d+, loss_adv (inf|nan)\).*--resume'
    with pytest.raises(NonFiniteLossError, match=message):
        model.loss(tiny.images(model), None)


def test_weights_and_statistics_stay_as_they_were(tiny):
    model = tiny.build(tiny.aemim())
    poison(model, 'backbone.ln1.weight_adv', HUGE)
    before = deepcopy(model.state_dict())
    with pytest.raises(NonFiniteLossError):
        train_step(model, tiny.pixels())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(module._forward_hooks for module in model.modules())


def test_a_finite_step_trains(tiny):
    model = tiny.build(tiny.aemim())
    before = deepcopy(model.state_dict())
    logged = train_step(model, tiny.pixels())
    torch.testing.assert_close(logged['loss'], logged['loss_clean'] + logged['loss_adv'])
    assert not torch.equal(model.backbone.cls_token_adv, before['backbone.cls_token_adv'])
