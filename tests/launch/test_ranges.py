"""A number out of its range is refused before training, in one line that names the field and what it can be."""

import re

import pytest
from helpers import runs

from aemim_mm import launch
from aemim_mm.errors import UserError
from aemim_mm.launch.ranges import check_ranges


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        # Fields that OpenMMLab or torch would take.
        ('model.backbone.mask_ratio=0', 'model.backbone.mask_ratio is a number > 0 and < 1, but got 0.'),
        ('model.backbone.mask_ratio=text', "mask_ratio is a number > 0 and < 1, but got 'text'."),
        ('model.backbone.drop_path_rate=1.0', 'model.backbone.drop_path_rate is a number >= 0 and < 1, but got 1.0.'),
        ('model.backbone.patch_size=0', 'model.backbone.patch_size is a whole number >= 1'),
        ('data_preprocessor.std=[0.0]', r'model.data_preprocessor.std is a number > 0, but got \[0.0\].'),
        ('optim_wrapper.optimizer.lr=-1', 'optim_wrapper.optimizer.lr is a number >= 0, but got -1.'),
        ('optim_wrapper.optimizer.lr=nan', 'optim_wrapper.optimizer.lr is a number >= 0, but got nan.'),
        ('optim_wrapper.optimizer.lr=fast', "optim_wrapper.optimizer.lr is a number >= 0, but got 'fast'."),
        ('optim_wrapper.clip_grad.max_norm=0', 'optim_wrapper.clip_grad.max_norm is a number > 0'),
        ('optim_wrapper.accumulative_counts=0', 'accumulative_counts is a whole number >= 1'),
        ('train_dataloader.batch_size=0', 'train_dataloader.batch_size is a whole number >= 1, but got 0.'),
        ('train_cfg.max_epochs=0', 'train_cfg.max_epochs is a whole number >= 1, but got 0.'),
        ('train_cfg.max_epochs=ten', "train_cfg.max_epochs is a whole number >= 1, but got 'ten'."),
        ('model.backbone.img_size=[a]', r"model.backbone.img_size is a whole number >= 1, but got \['a'\]."),
        ('train_cfg.max_epochs=1.5', 'train_cfg.max_epochs is a whole number >= 1, but got 1.5.'),
        # Fields of our classes.
        ('model.backbone.mask_ratio=0.99', 'mask_ratio is > 0 and <= 0.9375, .* of the 16 patches .* but got 0.99.'),
        ('model.backbone.patch_size=5', 'not a whole number of 5x5 patches'),
        ('model.backbone.adapters=bias', "Unknown adapter 'bias'. Known: bottleneck, cls_token, lora, norm"),
        ('model.neck.decoder_depth=0', 'set decoder_depth to 1 or more'),
        ('model.neck.embed_dim=100', 'model.neck.embed_dim: got 100, but model.backbone has 192.'),
        ('model.neck.img_size=56', r'model.neck.img_size .*: got \(8, 8\), but model.backbone has \(4, 4\).'),
        ('model.head.patch_size=14', r'model.head.patch_size: got \(14, 14\), but model.backbone has \(7, 7\).'),
        ('model.adv_weight=inf', 'adv_weight is a number >= 0'),
        ('model.adv_weight=nan', 'adv_weight is a number >= 0'),
        ('model.adv_weight=[(0,1),(5,2)]', 'progress rising from 0 to 1'),
        ('model.adv_share=1.5', r'adv_share is in \(0, 1\], but got 1.5'),
        ('model.adv_share=nan', r'adv_share is in \(0, 1\], but got nan'),
        ('data_preprocessor.eps=nan', 'eps is in pixels, 0-255, but got nan.'),
        ('data_preprocessor.steps=1.5', 'steps is a whole number >= 0, but got 1.5.'),
        ('data_preprocessor.steps=True', 'steps is a whole number >= 0, but got True.'),
        ('data_preprocessor.step_size=0', 'step_size is > 0, but got 0'),
        ('data_preprocessor.step_size=inf', 'step_size is in pixels, 0-255, but got inf.'),
        ('data_preprocessor.pixel_range=(255,0)', r'pixel_range is \(low, high\) with 0 <= low < high <= 255'),
        ('data_preprocessor.mean=[nan]', r'mean and std .* got mean=\[nan\]'),
    ],
)
def test_a_number_out_of_range_is_refused(tmp_path, capsys, option, message):
    assert re.search(message, refusal(runs.AEMIM, tmp_path, capsys, option))
    assert not list(tmp_path.rglob('*.pth'))


def refusal(config, work_dir, capsys, option):
    """Run ``tools/train.py``, and return the line with which it ends."""
    with pytest.raises(SystemExit) as ended:
        runs.train(config, work_dir, options=[option], epochs=None)
    assert ended.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith('error: '))
    return line


def test_the_stock_baselines_are_checked_too(tmp_path, capsys):
    line = refusal(runs.MAE, tmp_path, capsys, 'model.backbone.mask_ratio=1.5')
    assert line.startswith('error: model.backbone.mask_ratio is a number > 0 and < 1, but got 1.5.')
    cfg = launch.load_config(runs.CONFIGS / 'simmim/aesimmim_vit-b_800e.py')
    cfg.train_dataloader.dataset.pipeline[3].mask_ratio = 0
    with pytest.raises(UserError, match='train_dataloader.dataset.pipeline.3.mask_ratio is a number > 0 and < 1'):
        check_ranges(cfg)


@pytest.mark.parametrize('path', sorted(runs.CONFIGS.rglob('*.py')), ids=lambda path: path.stem)
def test_all_configs_are_in_range(path):
    if '_base_' not in path.parts and 'coco' not in path.parts:
        check_ranges(launch.load_config(path))
