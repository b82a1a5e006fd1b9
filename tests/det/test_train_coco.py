"""Mask R-CNN from pre-training to pycocotools, through tools/train.py and tools/test.py, on data in COCO's format.

One seed, of the pre-training and of the detectors. For five:
AEMIM_SEEDS=5 python -m pytest -s --timeout=3000 tests/det/test_train_coco.py -k transfer
"""

import json
import os
from pathlib import Path

import pytest
import torch
from helpers import coco_shapes, processes, runs
from mmengine.config import Config

from aemim_mm.stack import stack_report

HERE = Path(__file__).parent
CURRENT = any(row.distribution.startswith('onedl-') for row in stack_report())
PRETRAINED = 'model.backbone.init_cfg.checkpoint'
# The settings were chosen on seeds below 10.
SEEDS = [101 + number for number in range(int(os.environ.get('AEMIM_SEEDS', 1)))]


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """96 images to train with, and 96 others."""
    root = tmp_path_factory.mktemp('coco')
    coco_shapes.make_split(root, 'train', 96, seed=0)
    coco_shapes.make_split(root, 'val', 96, seed=1)
    return root


def train(config, work_dir, root, *options):
    """Train; give the losses and the last metrics."""
    # mmengine keeps one visualizer of a name in a process, with the first work dir.
    options = (f'visualizer.name={work_dir.name}', *options)
    runs.train(config, work_dir, '--data-root', root, options=options, shrunk=(), epochs=None)
    rows = [
        json.loads(line) for file in work_dir.glob('*/vis_data/scalars.json') for line in file.read_text().splitlines()
    ]
    metrics = [row for row in rows if 'coco/segm_mAP_50' in row]
    return [row['loss'] for row in rows if 'loss' in row], metrics[-1] if metrics else {}


def mean(values):
    return sum(values) / len(values)


def pretrained_encoder(work_dir, images, *options) -> Path:
    """Pre-train by AEMIM; give the checkpoint."""
    losses, _ = train(HERE / 'reduced_pretraining.py', work_dir, images, *options)
    assert mean(losses[-5:]) < 0.9 * mean(losses[:5])
    return work_dir / 'epoch_12.pth'


def detector(work_dir, root, *options) -> dict:
    """Train Mask R-CNN; give its metrics on held-out images."""
    losses, metrics = train(HERE / 'reduced_1x.py', work_dir, root, *options)
    # 84 of the 96 images have objects.
    assert len(losses) == 12 * 21 and mean(losses[-12:]) < 0.6 * mean(losses[:12])
    print(f'{work_dir.name}: mask AP50 {metrics["coco/segm_mAP_50"]:.3f}, box AP {metrics["coco/bbox_mAP"]:.3f}')
    return metrics


@pytest.mark.slow
@pytest.mark.skipif(not CURRENT, reason='once is enough: the classic stack has a shorter run')
def test_pre_training_and_transfer_to_held_out_images(coco, tmp_path):
    # The first 96 of these are those that the detector learns from.
    coco_shapes.make_split(tmp_path / 'unlabelled', 'train', 320, seed=0)
    found = dict(scratch=[], transferred=[])
    for seed in SEEDS:
        option = f'randomness.seed={seed}'
        encoder = pretrained_encoder(tmp_path / f'pretraining{seed}', tmp_path / 'unlabelled/train2017', option)
        starts = dict(scratch='model.backbone.init_cfg=None', transferred=f'{PRETRAINED}={encoder}')
        for start, init in starts.items():
            found[start].append(detector(tmp_path / f'{start}{seed}', coco, init, option))
    scores = {start: [metrics['coco/segm_mAP_50'] for metrics in rows] for start, rows in found.items()}
    assert min(scores['scratch'] + scores['transferred']) > 0.5
    # Of the means, by no more than the seeds differ by: see docs/detection.md.
    assert mean(scores['transferred']) > mean(scores['scratch']) - 0.03
    work_dir, trained = tmp_path / f'transferred{SEEDS[0]}', found['transferred'][0]
    log = runs.log_of(work_dir)
    assert 'interpolated' in log and 'missing' in log

    checkpoint = work_dir / 'epoch_12.pth'
    runs.test(
        HERE / 'reduced_1x.py', checkpoint, tmp_path / 'test', '--data-root', coco, options=['visualizer.name=test']
    )
    (tested,) = [
        json.loads(line) for file in (tmp_path / 'test').glob('*/*.json') for line in file.read_text().splitlines()
    ]
    for name in ('coco/segm_mAP_50', 'coco/bbox_mAP'):
        assert tested[name] == pytest.approx(trained[name], abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(CURRENT, reason='this stack has the longer run')
def test_losses_fall_and_the_evaluator_works(coco, tmp_path):
    short = ('train_cfg.max_epochs=3', 'train_cfg.val_interval=3', 'default_hooks.checkpoint.interval=3')
    losses, metrics = train(HERE / 'reduced_1x.py', tmp_path, coco, 'model.backbone.init_cfg=None', *short)
    assert mean(losses[-6:]) < 0.8 * mean(losses[:6])
    assert 0 < metrics['coco/segm_mAP_50'] <= 1 and 0 < metrics['coco/bbox_mAP_50'] <= 1


@pytest.mark.slow
def test_two_processes(coco, tmp_path):
    command = [
        runs.REPO / 'tools/dist_train.sh',
        HERE / 'reduced_1x.py',
        '2',
        '--data-root',
        coco,
        '--work-dir',
        tmp_path,
    ]
    options = ['model.backbone.init_cfg=None', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    processes.run(
        [*command, '--cfg-options', *options, 'default_hooks.checkpoint.interval=1'],
        env=dict(PYTHONPATH=str(runs.REPO)),
    )
    assert 'coco/segm_mAP_50' in runs.log_of(tmp_path)
    # 84 of the 96 images have objects: 11 iterations of 2 x 4.
    assert '[1][11/11]' in runs.log_of(tmp_path)
    assert torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['meta']['iter'] == 11


def test_every_config_inherits_mmdets():
    for path in (runs.CONFIGS / 'benchmarks/coco').glob('*.py'):
        text = path.read_text()
        assert "'mmdet::" in text and Config.fromfile(path).default_scope == 'mmdet'
