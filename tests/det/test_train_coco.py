"""Mask R-CNN from pre-training to pycocotools, through tools/train.py and tools/test.py, on data in COCO's format.

The comparison with training from scratch takes half an hour for five seeds:
AEMIM_SEEDS=5 python -m pytest -s --timeout=3000 tests/det/test_train_coco.py -k transfer
"""

import json
import os
from pathlib import Path

import pytest
import torch
from helpers import coco_shapes, faults, runs
from mmengine.config import Config

HERE = Path(__file__).parent
PRETRAINED = 'model.backbone.init_cfg.checkpoint'
# Seeds of the comparison. Its settings were chosen on seeds below 10.
SEEDS = [101 + number for number in range(int(os.environ.get('AEMIM_SEEDS', 0)))]
# Epochs of the short run.
SHORT = 4


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """96 images for training, and 96 held-out images."""
    root = tmp_path_factory.mktemp('coco')
    coco_shapes.make_split(root, 'train', 96, seed=0)
    coco_shapes.make_split(root, 'val', 96, seed=1)
    return root


def train(config, work_dir, root, *options):
    """Train; return the losses and the last metrics."""
    # In a process, mmengine keeps one visualizer for each name, with its first work directory.
    options = (f'visualizer.name={work_dir.name}', *options)
    runs.train(config, work_dir, '--data-root', root, options=options, shrunk=(), epochs=None)
    rows = [
        json.loads(line) for file in work_dir.glob('*/vis_data/scalars.json') for line in file.read_text().splitlines()
    ]
    metrics = [row for row in rows if 'coco/segm_mAP_50' in row]
    return [row['loss'] for row in rows if 'loss' in row], metrics[-1] if metrics else {}


def epochs(count: int) -> tuple:
    """Options for a training of so many epochs, with a checkpoint and an evaluation at its end."""
    return (
        f'train_cfg.max_epochs={count}',
        f'train_cfg.val_interval={count}',
        f'default_hooks.checkpoint.interval={count}',
    )


def mean(values):
    return sum(values) / len(values)


def pretrained_encoder(work_dir, images, *options) -> Path:
    """Pre-train by AEMIM; return the checkpoint."""
    losses, _ = train(HERE / 'reduced_pretraining.py', work_dir, images, *options)
    assert mean(losses[-5:]) < 0.9 * mean(losses[:5])
    return work_dir / 'epoch_12.pth'


def detector(work_dir, root, *options) -> dict:
    """Train Mask R-CNN; return its metrics on held-out images."""
    losses, metrics = train(HERE / 'reduced_1x.py', work_dir, root, *options)
    # 84 of the 96 images have objects.
    assert len(losses) == 12 * 21 and mean(losses[-12:]) < 0.6 * mean(losses[:12])
    print(f'{work_dir.name}: mask AP50 {metrics["coco/segm_mAP_50"]:.3f}, box AP {metrics["coco/bbox_mAP"]:.3f}')
    return metrics


def evaluated(checkpoint, work_dir, root) -> dict:
    """The metrics of ``tools/test.py``."""
    options = ['visualizer.name=test']
    runs.test(HERE / 'reduced_1x.py', checkpoint, work_dir, '--data-root', root, options=options)
    (row,) = [json.loads(line) for file in work_dir.glob('*/*.json') for line in file.read_text().splitlines()]
    return row


@pytest.mark.slow
def test_pre_training_detection_and_evaluation(coco, tmp_path):
    train(HERE / 'reduced_pretraining.py', tmp_path / 'encoder', coco / 'train2017', *epochs(1))
    options = (f'{PRETRAINED}={tmp_path}/encoder/epoch_1.pth', *epochs(SHORT), 'param_scheduler.1.milestones=[3]')
    losses, metrics = train(HERE / 'reduced_1x.py', tmp_path / 'detector', coco, *options)
    # 84 of the 96 images have objects.
    assert len(losses) == SHORT * 21 and mean(losses[-6:]) < 0.8 * mean(losses[:6])
    # On held-out images. 0.43 and 0.32 when this was written.
    assert metrics['coco/segm_mAP_50'] > 0.2 and metrics['coco/bbox_mAP_50'] > 0.1
    log = runs.log_of(tmp_path / 'detector')
    assert 'interpolated' in log and 'missing' in log
    again = evaluated(tmp_path / f'detector/epoch_{SHORT}.pth', tmp_path / 'test', coco)
    for name in ('coco/segm_mAP_50', 'coco/bbox_mAP'):
        assert again[name] == pytest.approx(metrics[name], abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(not SEEDS, reason='long: set AEMIM_SEEDS=5')
def test_transfer_is_not_worse_than_training_from_scratch(coco, tmp_path):
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
    # Between the means, allow a difference as large as that between seeds: see docs/detection.md.
    assert mean(scores['transferred']) > mean(scores['scratch']) - 0.03


@pytest.mark.slow
def test_two_processes(coco, tmp_path):
    options = ['model.backbone.init_cfg=None', 'train_dataloader.batch_size=4', *epochs(1)]
    config = HERE / 'reduced_1x.py'
    for process in faults.two_processes(tmp_path, '--data-root', coco, options=options, config=config):
        assert process.wait() == 0, process.output()
    assert 'coco/segm_mAP_50' in runs.log_of(tmp_path)
    # 84 of the 96 images have objects: 11 iterations of 2 x 4.
    assert '[1][11/11]' in runs.log_of(tmp_path)
    assert torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['meta']['iter'] == 11


def test_every_config_inherits_mmdets():
    for path in (runs.CONFIGS / 'benchmarks/coco').glob('*.py'):
        text = path.read_text()
        assert "'mmdet::" in text and Config.fromfile(path).default_scope == 'mmdet'
