"""A method of one's own, as docs/tutorials/add_a_method.md adds it."""

import re
from pathlib import Path

import pytest
import torch
from helpers import tiny
from mmpretrain.registry import MODELS

import aemim_mm

GUIDE = Path(aemim_mm.__file__).parents[1] / 'docs/tutorials/add_a_method.md'


@pytest.fixture(scope='module')
def classes():
    blocks = re.findall(r'```python\n(.*?)```', GUIDE.read_text(encoding='utf-8'), re.DOTALL)
    names = {}
    exec('\n'.join(blocks[:2]), names)
    yield names['MyMethod'], names['AEMyMethod']
    MODELS.module_dict.pop('AEMyMethod')


def parts(model_type):
    config = tiny.mae()
    del config['type']
    return tiny.merged(config, dict(data_preprocessor=dict(type=model_type)))


def test_a_method_of_ones_own(classes):
    kinds = zip(classes, ('SelfSupDataPreprocessor', 'AdvDataPreprocessor'))
    stock, model = (kind(**parts(preprocessor)) for kind, preprocessor in kinds)
    stock.init_weights()
    model.load_state_dict(stock.state_dict(), strict=True)
    stock.train(), model.train()
    images = tiny.images(model)

    torch.manual_seed(1)
    expected = stock.loss(images, None)
    torch.manual_seed(1)
    losses = model.loss(images, None)
    assert torch.equal(losses['loss_clean'], expected['loss'] + expected['loss_pull'])
    assert losses['attack_end'] > 1.5 * losses['attack_start']
    for name, value in stock.teacher.state_dict().items():
        assert torch.equal(model.teacher.state_dict()[name], value), 'one momentum update'

    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in model.teacher.parameters())
