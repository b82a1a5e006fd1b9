"""Which checkpoints fit a model, by the names and shapes of their tensors."""

import pytest
import torch

from aemim_mm.checkpoints.fit import LoadReport, check_checkpoint, load_report
from aemim_mm.errors import UserError


@pytest.fixture
def save(tmp_path):
    """Write a state dict as a checkpoint; return its path."""

    def save(state, **more):
        path = tmp_path / 'checkpoint.pth'
        torch.save(dict(state_dict=dict(state), **more), path)
        return str(path)

    return save


def zeros(**shapes):
    return {name.replace('__', '.'): torch.zeros(shape) for name, shape in shapes.items()}


def test_every_name_is_in_one_list():
    model = zeros(same=2, gone=3, other=(2, 3), norm=4, norm_adv=4, lone_adv=4, backbone__pos_embed=(1, 17, 8))
    model |= zeros(a__relative_position_index=(4, 4), layers__0__attn__rel_pos_h=3, wider__pos_embed=(1, 5, 4))
    model |= zeros(heads__relative_position_bias_table=(49, 3), map__pos_embed=(1, 4, 4, 8), clean=4)
    model['neck.decoder_pos_embed'] = torch.zeros(1, 17, 8)
    state = zeros(same=2, other=(3, 2), norm=4, new=1, backbone__pos_embed=(1, 5, 8), clean=4, clean_adv=4)
    state |= zeros(a__relative_position_index=(9, 9), wider__pos_embed=(1, 5, 8), map__pos_embed=(1, 5, 8))
    state['heads.relative_position_bias_table'] = torch.zeros(49, 2)
    state['neck.decoder_pos_embed'] = torch.zeros(1, 5, 8)
    assert load_report(model, state) == LoadReport(
        missing=['gone'],
        unused=['new'],
        mismatched=[
            'other (3, 2) for (2, 3)',
            'wider.pos_embed (1, 5, 8) for (1, 5, 4)',
            'heads.relative_position_bias_table (49, 2) for (49, 3)',
            'neck.decoder_pos_embed (1, 5, 8) for (1, 17, 8)',
        ],
        fitting=['same', 'norm', 'a.relative_position_index', 'clean'],
        interpolated=['backbone.pos_embed (1, 5, 8) to (1, 17, 8)', 'map.pos_embed (1, 5, 8) to (1, 4, 4, 8)'],
        copied=['norm_adv', 'lone_adv'],
        left_out=['clean_adv'],
        new=['layers.0.attn.rel_pos_h'],
    )


def test_report_as_text_is_trimmed():
    report = LoadReport(
        missing=[f'm{i}' for i in range(9)],
        unused=['u'],
        fitting=['f'] * 3,
        copied=['c'] * 2,
        left_out=['l'],
        new=['n'] * 4,
        interpolated=['pos_embed (1, 5, 8) to (1, 17, 8)'],
    )
    assert str(report).splitlines() == [
        '3 tensors fit',
        '  2 adversarial adapters start from the clean ones',
        '  1 adversarial adapters left out',
        '  4 relative positions start at zero',
        '  1 interpolated: pos_embed (1, 5, 8) to (1, 17, 8)',
        '  9 missing: m0, m1, m2, m3, m4, m5, m6, m7 and 1 more',
        '  1 unused: u',
    ]


STATE = dict(meta={}, message_hub={})
ALL = ('encoder', 'most', 'all', 'same')


# A change of a checkpoint of the model, and the needs that the changed checkpoint still meets.
@pytest.mark.parametrize(
    ('change', 'enough'),
    [
        (lambda name, value: value, ALL),
        (lambda name, value: None if name.endswith('_adv') else value, ('encoder', 'most', 'all')),
        (lambda name, value: None if name.startswith('neck.') else value, ('encoder', 'most')),
        (lambda name, value: None if 'layers.1.ln1' in name else value, ('most',)),
        (lambda name, value: None if 'layers.1.ln1' not in name else value, ()),
        (lambda name, value: value[..., 1:] if name == 'neck.decoder_pred.weight' else value, ()),
        (lambda name, value: value[:, :10] if name == 'backbone.pos_embed' else value, ('encoder', 'most', 'all')),
    ],
    ids=['whole', 'clean half', 'encoder', 'a layer less', 'a layer alone', 'another decoder', 'another grid'],
)
@pytest.mark.parametrize('need', ALL)
def test_what_is_enough(tiny, save, change, enough, need):
    model = tiny.build(tiny.aemim())
    state = {name: change(name, value) for name, value in model.state_dict().items()}
    path = save({name: value for name, value in state.items() if value is not None}, **STATE)
    if need in enough:
        assert isinstance(check_checkpoint(model, path, need), LoadReport)
    else:
        with pytest.raises(UserError, match='another architecture'):
            check_checkpoint(model, path, need)


@pytest.mark.parametrize(('extra', 'enough'), [('head.fc', ('encoder', 'most', 'all')), ('backbone.layers.2.x', ())])
@pytest.mark.parametrize('need', ALL)
def test_what_is_too_much(tiny, save, extra, enough, need):
    model = tiny.build(tiny.aemim())
    path = save({**model.state_dict(), extra: torch.zeros(1)}, **STATE)
    if need in enough:
        assert check_checkpoint(model, path, need).unused == [extra]
    else:
        with pytest.raises(UserError, match=f'1 unused: {extra}'):
            check_checkpoint(model, path, need)


def test_a_head_for_other_classes_is_no_fault_at_a_start():
    model = zeros(backbone__w=2, head__fc__weight=(10, 2))
    report = load_report(model, zeros(backbone__w=2, head__fc__weight=(1000, 2)))
    assert [report.fits(need) for need in ALL] == [True, True, False, False]


@pytest.mark.parametrize(('ours', 'stock'), [('aemim', 'mae'), ('aesimmim', 'simmim')])
def test_stock_and_ours_fit_each_other(tiny, save, ours, stock):
    ours, stock = tiny.build(getattr(tiny, ours)()), tiny.build(getattr(tiny, stock)())
    adapters = [name for name in ours.state_dict() if name.endswith('_adv')]
    report = check_checkpoint(ours, save(stock.state_dict()))
    assert report.copied == adapters and not report.missing + report.unused + report.mismatched
    report = check_checkpoint(stock, save(ours.state_dict()))
    assert report.left_out == adapters and not report.unused + report.missing + report.copied + report.mismatched


def test_part_of_a_checkpoint(tiny, save):
    model = tiny.build(tiny.aemim())
    path = save({f'module.{name}': value for name, value in model.state_dict().items()})
    assert len(check_checkpoint(model, path).fitting) == len(model.state_dict())
    report = check_checkpoint(model.backbone, path, 'most', prefix='backbone.')
    assert len(report.fitting) == len(model.backbone.state_dict()) and not report.unused


def test_bare_weights_are_a_checkpoint_too(tiny, tmp_path):
    model = tiny.build(tiny.aemim())
    torch.save(model.state_dict(), tmp_path / 'bare.pth')
    assert len(check_checkpoint(model, str(tmp_path / 'bare.pth')).fitting) == len(model.state_dict())
