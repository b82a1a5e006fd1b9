"""What tools/robustness.py does: suites on one or more classifiers, side by side."""

import copy
import hashlib
import re
import sys
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.utils import mkdir_or_exist
from mmpretrain.registry import DATASETS

from .. import launch
from ..checkpoint import check_checkpoint
from ..data_checks import check_data
from ..errors import UserError
from ..loading import checkpoint_loading
from .robustness import Evaluation
from .robustness_report import write_results
from .sanity import run_sanity_checks
from .suites import build_suite
from .whitebox import PGD

START = '\r\033[K' if sys.stdout.isatty() else ''  # Over the progress bar.
CHECKED = 200  # Images for the sanity checks.
# Of a training: none of them is needed.
HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


def robustness(args) -> bool:
    """``tools/robustness.py``: measure, print a table, and write JSON, CSV, PNG and HTML.

    Returns:
        Whether every part had its data.

    Raises:
        UserError: The checkpoint does not fit, the classifier is none, or the data of the config are missing.
    """
    cfg = launch.load_config(args)
    cfg.load_from, cfg.resume = None, False
    cfg.log_level, cfg.custom_hooks, cfg.default_hooks = 'WARNING', [], dict.fromkeys(HOOKS)
    if cfg.get('test_dataloader') is None:
        raise UserError(f'{args.config} has no test_dataloader. Take a config of a classifier.')
    check_data(cfg, ('test_dataloader',))
    init_default_scope('mmpretrain')
    if 'imagenet-c' in args.suite and {'corruptions', 'demo'} & set(args.suite):
        raise UserError(
            'ImageNet-C from disk and corruptions made on the fly have the same names, and their means would mix. '
            'Measure them in separate runs, each with an --out of its own.'
        )
    parts = {}
    for suite in args.suite:
        parts.update({part.name: part for part in build_suite(suite, cfg, args.shift_root)})
    with checkpoint_loading(args.trust_checkpoint):
        runner = launch.build_runner(cfg)
        model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        _check_classes(model, cfg)
        results, checks, missing = {}, {}, {}
        for label, path in labelled([args.checkpoint, *args.compare]).items():
            check_checkpoint(model, path, 'all', trusted=args.trust_checkpoint)
            load_checkpoint(model, path, map_location='cpu', logger='silent')
            evaluation = Evaluation(runner, Path(args.out) / 'parts' / label, _hash(model), args.limit)
            results[label] = _run(evaluation, parts.values(), label, missing)
            attacked = any(part.attack for part in parts.values())
            if attacked and not args.no_checks:
                checks[label] = run_sanity_checks(
                    model, PGD(eps=4.0), _first_images(runner, model, cfg, min(args.limit or CHECKED, CHECKED))
                )
    if is_main_process():
        mkdir_or_exist(args.out)
        print(write_results(Path(args.out), parts, results, checks, missing))
    return not missing


def labelled(checkpoints: list) -> dict:
    """``LABEL=PATH`` or a path, whose folder and name then are the label.

    Raises:
        UserError: Two have the same label.
    """
    found = {}
    for text in checkpoints:
        label, separator, path = text.partition('=')
        if not separator or '/' in label:
            path = text
            label = '-'.join([part for part in (Path(path).parent.name, Path(path).stem) if part])
        label = re.sub(r'[^\w.-]+', '_', label)
        if label in found:
            raise UserError(f'Two checkpoints are called {label}. Tell them apart with LABEL=PATH.')
        found[label] = path
    return found


def _run(evaluation: Evaluation, parts, label: str, missing: dict) -> dict:
    parts, results = list(parts), {}
    for number, part in enumerate(parts, start=1):
        line = f'{label}: {part.name} ({number} of {len(parts)})'

        def show(fraction, line=line):
            if is_main_process() and sys.stdout.isatty():
                print(f'\r[{"#" * int(20 * fraction):<20}] {line}\033[K', end='', flush=True)

        try:
            results[part.name] = result = evaluation.run(part, show)
            if is_main_process():
                print(f'{START}{label}: {part.name} {result.accuracy:.1f} ({result.seconds:.0f} s)', flush=True)
        except UserError as error:
            if part.name == 'clean' or part.attack:
                raise
            missing[part.name] = str(error)
            if is_main_process():
                print(f'{START}skipped {part.name}: {error}', flush=True)
    return results


def _check_classes(model, cfg) -> None:
    """A classifier of other classes is an error before any work."""
    if not hasattr(model, 'head') or not hasattr(model, 'extract_feat'):
        raise UserError(f'{type(model).__name__} is no classifier. Take a config with model type ImageClassifier.')
    classes = getattr(model.head, 'num_classes', None)
    known = len(DATASETS.build(copy.deepcopy(cfg.test_dataloader.dataset)).metainfo.get('classes') or ())
    if classes and known and classes != known:
        raise UserError(
            f'The classifier tells {classes} classes apart, but the test data have {known}. Take the config that it '
            'was trained with, or say where its data are with --data-root DIR.'
        )


def _first_images(runner, model, cfg, wanted: int):
    """Batches of images as the classifier sees them, and their classes, ``wanted`` in all."""
    loader = runner.build_dataloader({**cfg.test_dataloader, 'persistent_workers': False})
    count = 0
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        yield data['inputs'][: wanted - count], labels.to(data['inputs'].device)[: wanted - count]
        count += len(labels)
        if count >= wanted:
            return


def _hash(model) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else b'')
    return digest.hexdigest()
