"""Measure the robustness of one or more models, side by side. tools/robustness.py calls :func:`measure`."""

import gc
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from ..checkpoints.files import write_whole
from ..checkpoints.reading import checkpoint_loading
from ..engine.ranks import on_all_ranks, on_main
from ..engine.work_dir import usable
from ..errors import UserError
from .check_records import Check
from .checks import check_models, missing_data, say_missing, say_notes
from .conditions import Condition, Measurement, Robustness
from .detector_sanity import run_detector_checks
from .models_under_test import ModelUnderTest, build_runners, read_models
from .report import write_results
from .run import Evaluation, MissingData
from .sanity import run_sanity_checks
from .whitebox import WhiteBox

CHECKED = 200  # Images for the sanity checks.


def measure(
    config: str | PathLike,
    checkpoint: str | PathLike,
    *,
    suites: Sequence[str] = ('clean',),
    only: Sequence[str] = (),
    compare: Sequence[str] = (),
    data_root: str | PathLike | None = None,
    shift_root: str | PathLike = 'data',
    limit: int | None = None,
    out: str | PathLike = 'work_dirs/robustness',
    quantize: bool = False,
    cw_options: Sequence[str] = (),
    checks: bool = True,
    options: Sequence[str] | None = (),
    trust_checkpoint: bool = False,
    launcher: str = 'none',
) -> Robustness:
    """Measure how accurate models are on attacked, corrupted and shifted images.

    Example:
        >>> found = aemim_mm.robustness.measure('config.py', 'epoch_100.pth', suites=['white-box'], limit=1000)
        >>> found.measurements['run-epoch_100']['pgd/4'].accuracy
        >>> print(found.table)

    Args:
        config: Config file of the model.
        checkpoint: ``[LABEL=]CHECKPOINT``, a file or URL.
        suites: Names of suites; see docs/robustness.md.
        only: Patterns of names of conditions, such as ``pgd/4`` or ``*/3``; ``clean`` is always measured. Default: all.
        compare: Other models, ``[LABEL=][CONFIG.py:]CHECKPOINT``. Without a config, they have that of the first model.
        data_root: Data folder of the config's own test images.
        shift_root: Folder of the test sets under distribution shift.
        limit: Number of images, a random sample that is the same for all models. Default: all.
        out: Folder for results. Finished measurements are read from it.
        quantize: Round attacked images to 8 bits, inside the budget.
        cw_options: Fields of ``CarliniWagner`` for the suite ``cw``, each ``KEY=VALUE``, such as ``steps=1000``.
        checks: Run the sanity checks on attacked classifiers and detectors.
        options: Changes of all configs, each ``KEY=VALUE``.
        trust_checkpoint: Let checkpoints run code when they are loaded.
        launcher: What started the processes: ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Returns:
        All measurements. They are also in ``out``, as JSON, CSV, SVG and HTML.

    Raises:
        UserError: A checkpoint does not fit, a suite is not for this kind of model, or the config's data are missing.
    """
    if limit is not None and limit < 1:
        raise UserError(f'--limit is a number of images, at least 1, but got {limit}.')
    if 'imagenet-c' in suites and {'corruptions', 'demo'} & set(suites):
        raise UserError(
            'ImageNet-C from disk and corruptions made on the fly have the same names, and their means would mix. '
            'Measure them in separate runs, each with an --out of its own.'
        )
    models = read_models(
        [str(checkpoint), *compare],
        config,
        suites=suites,
        only=only,
        shift_root=shift_root,
        quantize=quantize,
        limited=limit is not None,
        cw_options=cw_options,
        options=options,
        data_root=data_root,
        work_dir=out,
        launcher=launcher,
    )
    usable(out)
    with checkpoint_loading(trust_checkpoint), quick_collection():
        build_runners(models)
        on_all_ranks(lambda: check_models(models, trust_checkpoint))
        missing = missing_data(models)
        say_missing(missing)
        say_notes(models[0].setup.conditions.values())
        found = Robustness(models[0].setup.conditions, missing=missing)
        for model in models:
            evaluation = _load(model, Path(out), limit)
            found.measurements[model.label] = _run(evaluation, model, missing)
            attacked = {name: one for name, one in model.setup.conditions.items() if one.attack}
            if checks and attacked and model.setup.kind == 'classifier':
                found.checks[model.label] = _checks(evaluation, model)
            if checks and attacked and model.setup.kind == 'detector':
                # In the middle of the radii, on all losses.
                checked = attacked.get('both/4') or next(iter(attacked.values()))
                clean = model.setup.conditions['clean']
                found.checks[model.label] = run_detector_checks(evaluation, clean, checked)
    if is_main_process():
        found.table = write_results(Path(out), found)
    return found


@contextmanager
def quick_collection() -> Iterator[None]:
    """Inside, the garbage collector skips the objects that exist already.

    mmengine's data sets call ``gc.collect()`` when they are built. With the whole stack imported, a full collection
    takes half a second, and a suite builds up to 75 data sets.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _load(model: ModelUnderTest, out: Path, limit: int | None) -> Evaluation:
    """Load the weights of a model."""
    setup = model.setup
    init_default_scope(setup.cfg.default_scope)
    load_checkpoint(setup.model, model.checkpoint, map_location='cpu', logger='silent')
    identity = _hash(setup.model, setup.cfg.model)
    assert setup.runner is not None
    return Evaluation(setup.runner, setup.loader, out / 'parts' / model.label, identity, limit)


def _run(evaluation: Evaluation, model: ModelUnderTest, missing: dict) -> dict[str, Measurement]:
    """Measure a model under all conditions whose data are there; add to ``missing`` what fails on the way."""
    conditions = [condition for name, condition in model.setup.conditions.items() if name not in missing]
    progress = is_main_process() and sys.stdout.isatty()
    found = {}
    for number, condition in enumerate(conditions, start=1):
        line = f'{model.label}: {condition.name} ({number} of {len(conditions)})'

        def show(fraction, line=line):
            if progress:
                print(f'\r[{"#" * int(20 * fraction):<20}] {line}\033[K', end='', flush=True)

        try:
            found[condition.name] = evaluation.run(condition, show)
            if is_main_process():
                line = _line(condition, found[condition.name])
                # On a terminal, the line replaces the progress bar.
                print(f'\r\033[K{model.label}: {line}' if progress else f'{model.label}: {line}', flush=True)
        except UserError as error:
            # An error in the middle of a measurement may be on one rank alone, and the others would wait for it.
            on_every_rank = isinstance(error, MissingData) or get_world_size() == 1
            if condition.name == 'clean' or condition.attack or not on_every_rank:
                raise
            missing[condition.name] = str(error)
            say_missing({condition.name: str(error)})
    return found


def _line(condition: Condition, measured: Measurement) -> str:
    figures = {name: figure for name, figure in measured.figures().items() if name in (condition.shown or (name,))}
    shown = ', '.join(f'{name} {figure.estimate:.4g}'.strip() for name, figure in figures.items())
    return f'{condition.name} {shown} ({measured.seconds:.0f} s)'


def _checks(evaluation: Evaluation, model: ModelUnderTest) -> list[Check]:
    """Run the sanity checks of a classifier on a sample of the images, or read the file of finished ones."""
    clean, limit = model.setup.conditions['clean'], min(evaluation.limit or CHECKED, CHECKED)
    path, fingerprint = evaluation.out / 'checks/checks.json', evaluation.fingerprint(clean, limit)

    def read():
        try:
            content = json.loads(path.read_text())
            return [Check(**check) for check in content['checks']] if content['fingerprint'] == fingerprint else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    checks = on_main(read)
    if checks is None:
        classifier = model.setup.model
        # All ranks do the same work, so no rank waits for another.
        checks = run_sanity_checks(classifier, WhiteBox(eps=4.0), _inputs(classifier, evaluation.batches(clean, limit)))
        if is_main_process():
            content = dict(fingerprint=fingerprint, checks=[vars(check) for check in checks])
            write_whole(path, json.dumps(content).encode())
    return checks


def _inputs(classifier, loader):
    """Yield batches of normalised images and their classes."""
    for batch in loader:
        data = classifier.data_preprocessor(batch, False)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        yield data['inputs'], labels.to(data['inputs'].device)


def _hash(model, configs: list) -> str:
    """Hash the weights and the config, whose other fields (mean, eps of a norm, ...) also change the predictions."""
    digest = hashlib.sha256(json.dumps(configs, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else b'')
    return digest.hexdigest()
