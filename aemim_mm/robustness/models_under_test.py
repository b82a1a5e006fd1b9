"""The models that are measured: their checkpoints, and what their configs give."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS

from ..checkpoints.reading import split_name
from ..engine.ranks import bare_model
from ..errors import UserError
from ..launch import build_runner, load_config
from ..launch.config import prepare_data
from ..report.labels import split_label
from .conditions import Condition
from .run import quiet
from .suites import build_conditions

# A measurement needs none of mmengine's default hooks, and no part of the config that trains or validates.
NO_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')
TEST = ('test_dataloader', 'test_cfg', 'test_evaluator')
# An attack on a pre-training model keeps the activations of the whole batch, and training batches are large.
PRETRAINING_BATCH = 64


@dataclass
class Setup:
    """What a config gives; models of the same config share it.

    Args:
        path: Path of the config file.
        cfg: The config without training, validation and test.
        kind: ``classifier``, ``pre-training model`` or ``detector``.
        conditions: Name to ``Condition``.
        loader: Config of the data loader of the images, without their data set.
        runner: Runner with the model, whose weights are those of the model that is measured at the moment.
        classes: Number of classes of a classifier; None if it is not known.
    """

    path: str
    cfg: Config
    kind: str
    conditions: dict[str, Condition]
    loader: dict
    runner: Runner | None = None
    classes: int | None = None

    @property
    def model(self) -> Any:
        """The model, without the wrapper of distributed runs."""
        assert self.runner is not None
        return bare_model(self.runner.model)


@dataclass
class ModelUnderTest:
    """A model that is measured.

    Args:
        label: Name in reports.
        checkpoint: File or URL.
        setup: What the model's config gives.
    """

    label: str
    checkpoint: str
    setup: Setup


def parse_model(text: str, config: str) -> tuple[str, str, str]:
    """Split ``[LABEL=][CONFIG:]CHECKPOINT``, where CONFIG ends in ``.py``, into label, config and checkpoint.

    The default label is the checkpoint's folder and name. A URL, or an existing file, may contain ``=``.

    Args:
        text: The specification of a model.
        config: Config of a checkpoint that names none.
    """
    label, rest = split_label(text)
    found = re.fullmatch(r'(.+?\.py):(.+)', rest)
    config, checkpoint = found.groups() if found else (config, rest)
    file, chosen = split_name(checkpoint)
    label = label or '-'.join([name for name in (Path(file).parent.name, Path(file).stem, chosen) if name])
    return re.sub(r'[^\w.-]+', '_', label), config, checkpoint


def read_models(specifications: Sequence[str], config: str | PathLike, **settings) -> list[ModelUnderTest]:
    """Read the config of each model, check its data folder, and build its suites.

    Args:
        specifications: Models, as in :func:`parse_model`.
        config: Config of models that name none.
        **settings: Arguments of :func:`read_setup`.

    Raises:
        UserError: Two models have the same label or are of different kinds; a config, an option or a suite is wrong;
            the data of a config are missing.
    """
    setups: dict[str, Setup] = {}
    models: dict[str, ModelUnderTest] = {}
    for text in specifications:
        label, path, checkpoint = parse_model(text, str(config))
        if label in models:
            raise UserError(f'Two checkpoints are called {label}. Tell them apart with LABEL=CHECKPOINT.')
        if path not in setups:
            setups[path] = read_setup(path, **settings)
        models[label] = ModelUnderTest(label, checkpoint, setups[path])
    first, *others = setups.values()
    for other in others:
        if other.kind != first.kind:
            raise UserError(
                f'{first.path} is of a {first.kind}, {other.path} of a {other.kind}. Compare models of one kind.'
            )
    return list(models.values())


def read_setup(
    path: str,
    *,
    suites: Sequence[str],
    shift_root: str | PathLike,
    quantize: bool,
    limited: bool,
    cw_options: Sequence[str] = (),
    only: Sequence[str] = (),
    **settings,
) -> Setup:
    """Read a config, check its data folder, and build its suites; the arguments are those of ``build_conditions``.

    Args:
        path: The config file.
        suites, shift_root, quantize, limited, cw_options, only: As in :func:`build_conditions`.
        **settings: Keyword arguments of ``load_config``.

    Raises:
        UserError: The config or a suite is wrong, or the config's data are missing.
    """
    cfg = load_config(path, **settings)
    cfg.default_scope = cfg.get('default_scope') or 'mmpretrain'
    init_default_scope(cfg.default_scope)
    kind = _kind(cfg)
    source = 'test_dataloader' if cfg.get('test_dataloader') or kind != 'pre-training model' else 'train_dataloader'
    if not cfg.get(source):
        raise UserError(f'{path} has no {source}, so there are no images to measure a {kind} on.')
    with quiet():
        prepare_data(cfg, (source,))
    conditions = build_conditions(
        suites, kind, cfg, str(shift_root), quantize=quantize, limited=limited, cw_options=cw_options, only=only
    )
    loader = {name: value for name, value in cfg[source].items() if name != 'dataset'}
    if kind == 'pre-training model':
        names = ('batch_size', 'num_workers', 'collate_fn', 'pin_memory')
        loader = {name: loader[name] for name in names if name in loader}
        loader.update(batch_size=min(loader['batch_size'], PRETRAINING_BATCH))
        loader.update(sampler=dict(type='DefaultSampler', shuffle=False))
    _drop_training(cfg)
    return Setup(path, cfg, kind, conditions, loader)


def _drop_training(cfg: Config) -> None:
    cfg.load_from, cfg.resume = None, False
    # mmengine finds loggers and visualizers by the experiment's name, which is by default the config's name and the
    # time in seconds. Two models of one second would share them.
    cfg.experiment_name = uuid4().hex
    cfg.log_level, cfg.custom_hooks, cfg.default_hooks = 'WARNING', [], dict.fromkeys(NO_HOOKS)
    for name in (*TRAINING, *VALIDATION, *TEST, 'visualizer'):
        cfg[name] = None


def _kind(cfg: Config) -> str:
    if cfg.default_scope == 'mmdet':
        return 'detector'
    model = cfg.model.type if isinstance(cfg.model.type, type) else MODELS.get(cfg.model.type)
    pretraining = isinstance(model, type) and issubclass(model, BaseSelfSupervisor)
    return 'pre-training model' if pretraining else 'classifier'


def build_runners(models: Sequence[ModelUnderTest]) -> None:
    """Build a runner for each config. Ranks wait for each other here."""
    for model in models:
        if model.setup.runner is None:
            init_default_scope(model.setup.cfg.default_scope)
            model.setup.runner = build_runner(model.setup.cfg)
