"""What tools/robustness.py does: suites on one or more models, side by side."""

import gc
import hashlib
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.utils import mkdir_or_exist

from ..checkpoints.files import write_whole
from ..checkpoints.reading import checkpoint_loading
from ..engine.ranks import on_all_ranks, on_main
from ..errors import UserError
from .checks import check_targets, missing_data, say_missing
from .measurement import Evaluation, MissingData, check_limit
from .models_under_test import Target, build_runners, read_targets
from .report import write_results
from .sanity import Check, run_sanity_checks
from .whitebox import PGD

START = '\r\033[K' if sys.stdout.isatty() else ''  # Over the progress bar.
CHECKED = 200  # Images for the sanity checks.


def robustness(args) -> bool:
    """``tools/robustness.py``: measure, print a table, and write JSON, CSV, PNG and HTML.

    Returns:
        Whether every part had its data.

    Raises:
        UserError: A checkpoint does not fit, a suite is not for this kind of model, or the data of a config are
            missing.
    """
    check_limit(args.limit)
    if 'imagenet-c' in args.suite and {'corruptions', 'demo'} & set(args.suite):
        raise UserError(
            'ImageNet-C from disk and corruptions made on the fly have the same names, and their means would mix. '
            'Measure them in separate runs, each with an --out of its own.'
        )
    targets = read_targets(args)
    results, checks = {}, {}
    with checkpoint_loading(args.trust_checkpoint), quick_collection():
        build_runners(targets)
        on_all_ranks(lambda: check_targets(targets, args.trust_checkpoint))
        missing = missing_data(targets)
        say_missing(missing)
        for target in targets:
            evaluation = _evaluation(target, args)
            results[target.label] = _run(evaluation, target, missing)
            attacked = any(part.attack for part in target.setup.parts.values())
            if attacked and target.setup.kind == 'classifier' and not args.no_checks:
                checks[target.label] = _checks(evaluation, target)
    if is_main_process():
        mkdir_or_exist(args.out)
        print(write_results(Path(args.out), targets[0].setup.parts, results, checks, missing))
    return not missing


@contextmanager
def quick_collection():
    """Each data set that is built has the garbage collected, which with all of the stack imported takes half a second.

    Inside, what is there already is passed over.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _evaluation(target: Target, args) -> Evaluation:
    """Load the weights."""
    setup = target.setup
    init_default_scope(setup.cfg.default_scope)
    load_checkpoint(setup.model, target.checkpoint, map_location='cpu', logger='silent')
    identity = _hash(setup.model, [setup.cfg.model, setup.cfg.get('data_preprocessor')])
    return Evaluation(setup.runner, setup.loader, Path(args.out) / 'parts' / target.label, identity, args.limit)


def _run(evaluation: Evaluation, target: Target, missing: dict) -> dict:
    parts = [part for name, part in target.setup.parts.items() if name not in missing]
    results = {}
    for number, part in enumerate(parts, start=1):
        line = f'{target.label}: {part.name} ({number} of {len(parts)})'

        def show(fraction, line=line):
            if is_main_process() and sys.stdout.isatty():
                print(f'\r[{"#" * int(20 * fraction):<20}] {line}\033[K', end='', flush=True)

        try:
            results[part.name] = result = evaluation.run(part, show)
            if is_main_process():
                figures = {name: figure for name, figure in result.figures().items() if name in (part.shown or (name,))}
                shown = ', '.join(f'{name} {figure.estimate:.4g}'.strip() for name, figure in figures.items())
                print(f'{START}{target.label}: {part.name} {shown} ({result.seconds:.0f} s)', flush=True)
        except UserError as error:
            # In the middle of a part, other ranks may not know, and would wait.
            known = isinstance(error, MissingData) or get_world_size() == 1
            if part.name == 'clean' or part.attack or not known:
                raise
            missing[part.name] = str(error)
            say_missing({part.name: str(error)})
    return results


def _checks(evaluation: Evaluation, target: Target) -> list:
    """The sanity checks, on a sample; what is finished is read from its file."""
    clean, limit = target.setup.parts['clean'], min(evaluation.limit or CHECKED, CHECKED)
    path, fingerprint = evaluation.out / 'checks/checks.json', evaluation.fingerprint(clean, limit)

    def read():
        try:
            content = json.loads(path.read_text())
            return [Check(**check) for check in content['checks']] if content['fingerprint'] == fingerprint else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    checks = on_main(read)
    if checks is None:
        model = target.setup.model
        # On all ranks alike: nobody waits.
        checks = run_sanity_checks(model, PGD(eps=4.0), _inputs(model, evaluation.batches(clean, limit)))
        if is_main_process():
            content = dict(fingerprint=fingerprint, checks=[vars(check) for check in checks])
            write_whole(path, json.dumps(content).encode())
    return checks


def _inputs(model, loader):
    """Batches of images as the classifier sees them, and their classes."""
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        yield data['inputs'], labels.to(data['inputs'].device)


def _hash(model, configs: list) -> str:
    """Of the weights, and of what the config makes of them: mean, eps of a norm, number of detections, ..."""
    digest = hashlib.sha256(json.dumps(configs, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else b'')
    return digest.hexdigest()
