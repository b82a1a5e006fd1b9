"""The load report for pre-trained encoders in detectors and other networks."""

import pytest
import torch
from helpers import tiny
from mmdet.registry import MODELS

from aemim_mm.checkpoints.fit import check_checkpoint
from aemim_mm.errors import UserError

VITDET = dict(
    type='ViTDet',
    arch=dict(**tiny.ARCH, global_attn_indexes=[1]),
    img_size=64,
    patch_size=8,
    window_size=4,
    init_cfg=None,
)
SWIN = dict(
    tiny.SWIN,
    type='mmpretrain.SwinTransformer',
    img_size=64,
    out_indices=(0, 1),
    stage_cfgs=dict(block_cfgs=dict(window_size=8)),
)


def saved(model, tmp_path):
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'checkpoint.pth')
    return str(tmp_path / 'checkpoint.pth')


@pytest.mark.parametrize(('source', 'left_out'), [('mae', 0), ('aemim', 11)])
def test_vitdet(tmp_path, source, left_out):
    path, backbone = saved(tiny.build(getattr(tiny, source)()), tmp_path), MODELS.build(VITDET)
    report = check_checkpoint(backbone, path, 'most', 'backbone.')
    assert report.interpolated == ['pos_embed (1, 17, 32) to (1, 8, 8, 32)']
    assert report.new == [f'layers.{i}.attn.rel_pos_{axis}' for i in (0, 1) for axis in 'hw']
    assert sorted(report.unused) == ['cls_token', 'ln1.bias', 'ln1.weight'] and len(report.left_out) == left_out
    assert not report.missing + report.mismatched
    own = set(backbone.state_dict()) - {'pos_embed', *report.new}
    assert set(report.fitting) == own
    # The same for load_from of a detector.
    detector = torch.nn.ModuleDict(dict(backbone=backbone, head=torch.nn.Linear(2, 2)))
    assert check_checkpoint(detector, path).missing == ['head.weight', 'head.bias']


@pytest.mark.parametrize('arch', [dict(embed_dims=48), dict(num_layers=1, global_attn_indexes=[0])])
def test_another_width_or_depth_is_refused(tmp_path, arch):
    backbone = MODELS.build(tiny.merged(VITDET, dict(arch=arch)))
    shape = r'layers.0.ln1.weight \(32,\) for \(48,\)' if 'embed_dims' in arch else 'unused: .*layers.1.ln1.weight'
    with pytest.raises(UserError, match=f'of another architecture than .*(?s:.*){shape}'):
        check_checkpoint(backbone, saved(tiny.build(tiny.aemim()), tmp_path), 'most', 'backbone.')


def test_swin(tmp_path):
    path, backbone = saved(tiny.build(tiny.aesimmim()), tmp_path), MODELS.build(SWIN)
    report = check_checkpoint(backbone, path, 'most', 'backbone.')
    table = 'attn.w_msa.relative_position_bias_table (49, 2) to (225, 2)'
    assert report.interpolated == [f'stages.{i}.blocks.{j}.{table}' for i in (0, 1) for j in (0, 1)]
    assert report.missing == ['norm0.weight', 'norm0.bias'] and report.unused == ['mask_token']
    assert report.left_out and not report.mismatched


def test_an_encoder_that_loads_nothing_is_refused(tmp_path):
    path = saved(tiny.build(tiny.aesimmim()), tmp_path)
    with pytest.raises(UserError, match='of another architecture'):
        check_checkpoint(MODELS.build(VITDET), path, 'most', 'backbone.')
