"""Compiled layers give the gradients of plain ones, or are refused."""

import pytest
import torch
from helpers import runs

from aemim_mm import launch
from aemim_mm.errors import UserError
from aemim_mm.models import compilation
from aemim_mm.models.modes import only_inputs_need_gradients

compiles = pytest.mark.skipif(not compilation.CAN_COMPILE, reason='this torch is refused')


def compiled_layers(model):
    for layer in model.backbone.layers:
        layer.compile(backend='aot_eager')  # It needs no compiler, and shares its guards with the other backends.
    return model


@compiles
@pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor that is not a leaf')  # dynamo's own
@pytest.mark.parametrize('changes', [{}, dict(attack_layers=1, adv_share=0.5)])
def test_compiled_layers_give_the_same_losses_and_gradients(tiny, changes):
    found = []
    for prepare in (lambda model: model, compiled_layers):
        model = tiny.build(tiny.aemim(**changes))
        tiny.part_domains(model)
        prepare(model)
        for seed in range(2):  # The second step runs code that was compiled before and after an attack.
            model.zero_grad()
            torch.manual_seed(seed)
            loss, log = model.parse_losses(model.loss(tiny.images(model), None))
            loss.backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
        found.append({**log, **gradients})
    plain, compiled = found
    for name, value in plain.items():
        assert compiled[name] is not None, name
        torch.testing.assert_close(compiled[name], value, rtol=1e-5, atol=1e-7)


def test_a_torch_that_would_be_wrong_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, 'CAN_COMPILE', False)
    model = compiled_layers(tiny.build(tiny.aemim()))
    with pytest.raises(UserError, match='torch.compile gives wrong gradients'), only_inputs_need_gradients(model):
        pass
    with pytest.raises(UserError, match='Remove compile from the config'):
        launch.train(runs.AEMIM, work_dir=tmp_path, options=[*runs.SHRUNK, 'compile=True'])
    # A model without an attack may be compiled.
    compilation.check_compiled(tiny.build(tiny.mae()), asked=True)
