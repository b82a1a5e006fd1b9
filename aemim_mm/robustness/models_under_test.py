"""The models that tools/robustness.py measures: read from the command line, with what their configs give."""

import re
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS

from .. import launch
from ..datasets.of_config import check_data
from ..errors import UserError
from .measurement import quiet
from .suites import build_parts

# Of a training: none of them is needed.
HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')
TEST = ('test_dataloader', 'test_cfg', 'test_evaluator')
# What is attacked of a pre-training model stays on the device as a whole.
PRETRAINING_BATCH = 64


@dataclass
class Target:
    """A model to measure: a checkpoint, with the runner of its config, which others may share.

    Args:
        label: What it is called in reports.
        checkpoint: File or URL.
        setup: What its config gives.
    """

    label: str
    checkpoint: str
    setup: 'Setup'


@dataclass
class Setup:
    """What a config gives.

    Args:
        path: Of the config file.
        cfg: The config, with nothing of training.
        kind: ``classifier``, ``pre-training model`` or ``detector``.
        parts: Name to ``Part``.
        loader: Of the test images, without their data set.
        runner: With the model; its weights are those of the target under test.
        classes: How many a classifier tells apart; None: unknown.
    """

    path: str
    cfg: Config
    kind: str
    parts: dict
    loader: dict
    runner: Runner | None = None
    classes: int | None = None

    @property
    def model(self):
        """The bare model."""
        return self.runner.model.module if hasattr(self.runner.model, 'module') else self.runner.model


def parse_target(text: str, config: str) -> tuple:
    """``[LABEL=][CONFIG:]CHECKPOINT``, where CONFIG ends in ``.py``, to its label, config and checkpoint.

    Without a label, it is the checkpoint's folder and name. A URL, and a path that contains ``=``, may be a checkpoint.

    Args:
        text: From the command line.
        config: The config of a checkpoint that has none.
    """
    label, separator, rest = text.partition('=')
    if not separator or '/' in label or '.py:' in label or Path(text).exists():
        label, rest = '', text
    found = re.fullmatch(r'(.+?\.py):(.+)', rest)
    config, checkpoint = found.groups() if found else (config, rest)
    label = label or '-'.join([part for part in (Path(checkpoint).parent.name, Path(checkpoint).stem) if part])
    return re.sub(r'[^\w.-]+', '_', label), config, checkpoint


def read_targets(args) -> list:
    """The targets of a command line; each config is read, its data folder checked, and its suites are built.

    Raises:
        UserError: Two have the same label, or are of different kinds; a config, an option or a suite is wrong; the
            config's own data are missing.
    """
    setups, targets = {}, {}
    for text in (args.checkpoint, *args.compare):
        label, config, checkpoint = parse_target(text, args.config)
        if label in targets:
            raise UserError(f'Two checkpoints are called {label}. Tell them apart with LABEL=CHECKPOINT.')
        if config not in setups:
            setups[config] = _setup(args, config)
        targets[label] = Target(label, checkpoint, setups[config])
    first, *others = setups.values()
    for other in others:
        if other.kind != first.kind:
            raise UserError(
                f'{first.path} is of a {first.kind}, {other.path} of a {other.kind}. Compare models of one kind.'
            )
    return list(targets.values())


def _setup(args, path: str) -> Setup:
    cfg = launch.load_config(
        path, options=args.cfg_options, data_root=args.data_root, work_dir=args.out, launcher=args.launcher
    )
    cfg.default_scope = cfg.get('default_scope') or 'mmpretrain'
    init_default_scope(cfg.default_scope)
    kind = _kind(cfg)
    source = 'test_dataloader' if cfg.get('test_dataloader') or kind != 'pre-training model' else 'train_dataloader'
    if not cfg.get(source):
        raise UserError(f'{path} has no {source}, so there are no images to measure a {kind} on.')
    check_data(cfg, (source,))
    if kind == 'detector':
        from ..det.coco_config import set_classes

        with quiet():
            set_classes(cfg, None, (source,))
    parts = build_parts(args.suite, kind, cfg, args.shift_root, quantize=args.quantize, limited=args.limit is not None)
    loader = {name: value for name, value in cfg[source].items() if name != 'dataset'}
    if kind == 'pre-training model':
        names = ('batch_size', 'num_workers', 'collate_fn', 'pin_memory')
        loader = {name: loader[name] for name in names if name in loader}
        loader.update(batch_size=min(loader['batch_size'], PRETRAINING_BATCH))
        loader.update(sampler=dict(type='DefaultSampler', shuffle=False))
    cfg.load_from, cfg.resume = None, False
    # mmengine keeps its logger and visualizer by name: of the experiment, that is the config's and the second.
    cfg.experiment_name = uuid4().hex
    cfg.log_level, cfg.custom_hooks, cfg.default_hooks = 'WARNING', [], dict.fromkeys(HOOKS)
    for name in (*TRAINING, *VALIDATION, *TEST, 'visualizer'):
        cfg[name] = None
    return Setup(path, cfg, kind, parts, loader)


def _kind(cfg: Config) -> str:
    if cfg.default_scope == 'mmdet':
        return 'detector'
    model = cfg.model.type if isinstance(cfg.model.type, type) else MODELS.get(cfg.model.type)
    pretraining = isinstance(model, type) and issubclass(model, BaseSelfSupervisor)
    return 'pre-training model' if pretraining else 'classifier'


def build_runners(targets: list) -> None:
    """A runner for each config. Ranks wait for each other here."""
    for target in targets:
        if target.setup.runner is None:
            init_default_scope(target.setup.cfg.default_scope)
            target.setup.runner = launch.build_runner(target.setup.cfg)
