"""Train or test with a config: build mmengine's Runner, check everything, then run."""

import os
from collections.abc import Sequence
from os import PathLike

import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoints.reading import checkpoint_loading
from ..datasets.of_config import as_list
from ..engine.backends import guard_backends
from ..engine.hooks.schedule_check import ScheduleCheckHook
from ..engine.ranks import bare_model, sigterm_restored, start_processes
from ..engine.resumption import choose_checkpoint, make_resumable
from ..engine.screen import keep_parameter_lists_off_screen
from ..engine.sharding import check_optimizer
from ..engine.work_dir import held, usable
from ..errors import UserError
from ..models.compilation import check_compiled
from ..report.record import code_version
from .checks import (
    check_batches,
    check_data_labels,
    check_image_size,
    check_pretrained,
    check_start,
    check_training,
)
from .config import load_config, prepare_data, scale_learning_rate, set_resume
from .config_errors import building
from .ranges import check_ranges
from .target_networks import target_network


def build_runner(cfg: Config) -> Runner:
    """Build mmengine's Runner from a config; without CUDA, several processes communicate by gloo.

    Raises:
        UserError: A part of the config cannot be built.
    """
    if not cfg.get('model'):
        raise UserError(
            f'The config {cfg.filename} has no model. Inherit one with _base_, or set model=dict(type=...).'
        )
    check_ranges(cfg)
    if cfg.launcher == 'pytorch' and not dist.is_distributed():
        start_processes(cfg.env_cfg.dist_cfg)
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    if (cfg.get('randomness') or {}).get('deterministic'):
        # CUDA reads this when its first product is computed, and torch refuses to compute one without it.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    build = RUNNERS.build if cfg.get('runner_type') else Runner.from_cfg
    with target_network(cfg), building(cfg):
        runner = build(cfg)  # pyright: ignore[reportArgumentType]
    keep_parameter_lists_off_screen(runner.logger)
    guard_backends(runner.visualizer)
    return runner


def train(
    config: str | PathLike,
    *,
    options: Sequence[str] | None = (),
    work_dir: str | PathLike | None = None,
    data_root: str | PathLike | None = None,
    classes: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    validate: bool = True,
    trust_checkpoint: bool = False,
    launcher: str = 'none',
) -> Runner:
    """Train with a config of mmpretrain, mmdet or this project.

    Args:
        config, options, work_dir, data_root, launcher: As in :func:`load_config`.
        classes: Detection: the classes to learn, separated by commas. Default: all categories of the annotation files.
        resume: A checkpoint to go on from; ``auto`` for the latest intact one in the work dir.
        amp: Compute in bfloat16 mixed precision.
        auto_scale_lr: Scale the learning rate by the real batch size over that of the config.
        validate: Evaluate during training.
        trust_checkpoint: Let checkpoints run code when they are loaded.

    Returns:
        The Runner, with the trained model.

    Raises:
        UserError: The config, the data or a checkpoint is wrong.
    """
    options = [*(options or ()), *(['optim_wrapper.type=Bfloat16OptimWrapper'] if amp else [])]
    cfg = load_config(config, options=options, data_root=data_root, work_dir=work_dir, launcher=launcher)
    # What edits the config:
    if not validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if auto_scale_lr:
        scale_learning_rate(cfg)
    make_resumable(cfg)
    set_resume(cfg, resume)
    prepare_data(cfg, ('train_dataloader', 'val_dataloader'), classes)
    # What is checked before training:
    check_training(cfg)
    check_optimizer(cfg)
    with held(cfg.work_dir, launcher), checkpoint_loading(trust_checkpoint):
        runner = build_runner(cfg)
        if runner.rank == 0:
            runner.logger.info(code_version())
        check_compiled(bare_model(runner.model), cfg.get('compile'))
        choose_checkpoint(runner, trust_checkpoint)
        with target_network(cfg):
            check_pretrained(runner, trust_checkpoint)
        check_start(runner, 'encoder', trust_checkpoint)
        with building(cfg):
            check_batches(runner)
            check_data_labels(runner, ('train', 'val'))
        check_image_size(runner)
        runner.register_hook(ScheduleCheckHook())
        with sigterm_restored(), building(cfg):
            runner.train()
    return runner


def test(
    config: str | PathLike,
    checkpoint: str | PathLike,
    *,
    options: Sequence[str] | None = (),
    work_dir: str | PathLike | None = None,
    data_root: str | PathLike | None = None,
    classes: str | None = None,
    out: str | PathLike | None = None,
    trust_checkpoint: bool = False,
    launcher: str = 'none',
) -> dict:
    """Test a checkpoint with a config of mmpretrain, mmdet or this project.

    Args:
        config, options, work_dir, data_root, launcher: As in :func:`load_config`.
        checkpoint: File or URL.
        classes: As in :func:`train`.
        out: Pickle file for the predictions.
        trust_checkpoint: Let the checkpoint run code when it is loaded.

    Returns:
        Name of a metric to its value.

    Raises:
        UserError: The config, the data or the checkpoint is wrong.
    """
    cfg = load_config(config, options=options, data_root=data_root, work_dir=work_dir, launcher=launcher)
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise UserError(f'{config} cannot be tested: it has no test_dataloader or no test_evaluator.')
    cfg.load_from, cfg.resume = str(checkpoint), False
    if out:
        cfg.test_evaluator = [*as_list(cfg.test_evaluator), dict(type='DumpResults', out_file_path=str(out))]
    prepare_data(cfg, ('test_dataloader',), classes)
    usable(cfg.work_dir)
    with checkpoint_loading(trust_checkpoint):
        runner = build_runner(cfg)
        check_start(runner, 'all', trust_checkpoint)
        check_image_size(runner)
        with building(cfg):
            check_data_labels(runner, ('test',))
            return runner.test()
