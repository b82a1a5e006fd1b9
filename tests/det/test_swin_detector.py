"""A Swin encoder that AESimMIM has pre-trained serves as the backbone of a detector."""

from copy import deepcopy

import torch
from helpers import tiny
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from aemim_mm.checkpoints.fit import check_checkpoint


def test_it_starts_from_the_clean_encoder(tmp_path):
    algorithm = tiny.build(tiny.aesimmim())
    tiny.part_domains(algorithm)
    algorithm.eval()
    path = str(tmp_path / 'simmim.pth')
    torch.save(dict(state_dict=algorithm.state_dict()), path)

    config = {name: value for name, value in deepcopy(tiny.SWIN).items() if name != 'mask_ratio'}
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    stages = len(config['arch']['depths'])
    config.update(type='mmpretrain.SwinTransformer', out_indices=tuple(range(stages)), init_cfg=init_cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        backbone = MODELS.build(config)
        report = check_checkpoint(backbone, path, 'most', 'backbone.')
        backbone.init_weights()
    backbone.eval()
    assert len(report.left_out) == 2 * sum(config['arch']['depths']) * 2 + 6

    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = backbone(images)
    assert [level.shape[-1] for level in maps] == [8 // 2**stage for stage in range(stages)]
    with torch.no_grad():
        expected = algorithm.backbone(images, None)[-1]
    torch.testing.assert_close(maps[-1], expected, atol=1e-6, rtol=0)
