"""Train or test by a config: build mmengine's Runner, check everything first, then run it."""

import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoints.reading import checkpoint_loading
from ..datasets.of_config import check_data
from ..engine.ranks import sigterm_restored, start_processes
from ..engine.resumption import choose_checkpoint, make_resumable, wanted_resume
from ..engine.screen import keep_parameter_lists_off_screen
from ..engine.sharding import check_optimizer
from ..errors import UserError
from .checks import check_batches, check_image_size, check_pretrained, check_start
from .config import load_config, set_classes


def build_runner(cfg: Config) -> Runner:
    """mmengine's Runner of this config; on machines without an accelerator, processes talk over gloo."""
    if cfg.launcher == 'pytorch' and not dist.is_distributed():
        start_processes(cfg.env_cfg.dist_cfg)
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    try:
        runner = RUNNERS.build(cfg) if cfg.get('runner_type') else Runner.from_cfg(cfg)
    except TypeError as error:
        if 'unexpected keyword argument' not in str(error):
            raise
        raise UserError(
            f'The config has a field that nothing takes: {error}. Mend its name, in the config or in --cfg-options.'
        ) from error
    keep_parameter_lists_off_screen(runner.logger)
    return runner


def train(args) -> None:
    """``tools/train.py``."""
    cfg = load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'Bfloat16OptimWrapper'
    make_resumable(cfg)
    check_optimizer(cfg)
    resume = wanted_resume(args.resume, cfg.work_dir)
    if resume:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    if args.auto_scale_lr:
        if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            raise UserError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
        cfg.auto_scale_lr.enable = True
        # mmengine takes one iteration for the whole batch.
        cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    set_classes(cfg, args.classes, ('train_dataloader', 'val_dataloader'))
    with checkpoint_loading(args.trust_checkpoint):
        runner = build_runner(cfg)
        choose_checkpoint(runner, args.trust_checkpoint)
        check_pretrained(runner, args.trust_checkpoint)
        check_start(runner, 'encoder', args.trust_checkpoint)
        check_batches(runner)
        check_image_size(runner)
        with sigterm_restored():
            runner.train()


def test(args) -> None:
    """``tools/test.py``."""
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise UserError(f'{args.config} has nothing to test: it has no test_dataloader or no test_evaluator.')
    check_data(cfg, ('test_dataloader',))
    set_classes(cfg, args.classes, ('test_dataloader',))
    if args.out:
        cfg.test_evaluator = [*_as_list(cfg.test_evaluator), dict(type='DumpResults', out_file_path=args.out)]
    with checkpoint_loading(args.trust_checkpoint):
        runner = build_runner(cfg)
        check_start(runner, 'all', args.trust_checkpoint)
        check_image_size(runner)
        runner.test()


def _as_list(value):
    return value if isinstance(value, (list, tuple)) else [value]
