"""Carry out one run of a study: pre-train, probe, fine-tune, attack and corrupt, and write the record."""

import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

from mmengine.runner import find_latest_checkpoint

from ..checkpoints.files import write_whole
from ..datasets.of_config import labelled_data
from ..errors import UserError
from ..evaluation.probe import extract_features, knn_accuracy, linear_probe_accuracy
from ..export import export
from ..launch import load_config, train
from ..report.record import read_record, write_record
from ..report.scalars import read_scalars
from ..robustness import measure
from .declaration import Run, Training
from .measures import measures_among

_trainings = count()  # of this process
ACCURACY = 'accuracy/top1'


def record_path(run: Run, out: Path) -> Path:
    """Return where the record of a run is, in the folder of the study's records."""
    return out / f'{run.name}.json'


def finished(run: Run, out: Path) -> dict | None:
    """Return the record of a run; None if there is none, or if the study has changed since."""
    try:
        record = read_record(record_path(run, out))
    except UserError:
        return None
    return record if record['values'].get('config_hash') == run.config_hash else None


class Costs:
    """The costs of the stages of a run.

    Attributes:
        seconds: Stage to its duration by the clock, in seconds.
        cpu_seconds: Stage to the time that the processor worked for it, in seconds. Other work does not change it.
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Measure what happens inside."""
        clock, cpu = time.time(), time.process_time()
        yield
        self.seconds[stage] = time.time() - clock
        self.cpu_seconds[stage] = time.process_time() - cpu


def perform(run: Run, out: Path, work_dir: Path) -> dict:
    """Carry out a run and write its record.

    A run that was interrupted goes on from its last checkpoint. The checkpoints are deleted at the end.

    Args:
        run: The run.
        out: Folder for the study's records.
        work_dir: Folder for the study's trainings.

    Returns:
        The record.

    Raises:
        UserError: A config, an option or the data are wrong.
    """
    folder = work_dir / run.name
    resumed = _make_ready(folder, run.config_hash)
    costs, method = Costs(), run.study.methods[run.method]
    with costs.of('pre-training'):
        runner, trained = _train(run, method, folder / 'pretrained')
    last_logged, pretrained = read_scalars(folder / 'pretrained'), trained
    if method.then:
        with costs.of('second training'):
            runner, trained = _train(run, method.then, folder / 'second', f'model.encoder={trained}')
        last_logged |= read_scalars(folder / 'second')
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == 'darwin' else 1e3)
    with costs.of('probes'):
        measures, figures = _probe(run, runner), {}
    for network, found in _evaluations(run, pretrained, trained, folder, costs):
        prefix = f'{network}/' if network else ''
        figures.update({prefix + name: figure for name, figure in found.items()})
        measures.update({prefix + name: figure for name, figure in measures_among(found).items()})
    study = run.study
    values = dict(
        method=run.method,
        config_hash=run.config_hash,
        study=dict(methods=list(study.methods), baseline=study.baseline, primary=study.primary, margin=study.margin),
        measures=measures,
        figures=figures,
        last_logged={name: scalar[1][-1] for name, scalar in last_logged.items()},
        resumed=resumed,
        seconds=costs.seconds,
        cpu_seconds=costs.cpu_seconds,
        peak_memory_mb=memory,
    )
    trainings = [each for each in (method, method.then, *study.tunings_of(run.method).values()) if each]
    config = [' '.join([str(each.config), *each.options]) for each in trainings]
    record = write_record(record_path(run, out), values, config=config, seed=run.seed)
    for checkpoint in folder.rglob('*.pth*'):
        checkpoint.unlink()
    return record


def _evaluations(
    run: Run, pretrained: str, trained: str, folder: Path, costs: Costs
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each network that is evaluated, by name, with its figures.

    Args:
        run: The run.
        pretrained: Checkpoint of the pre-training.
        trained: Checkpoint of the encoder that is fine-tuned.
        folder: Folder of the run.
        costs: Notes what it costs.
    """
    study = run.study
    measured = replace(study.methods[run.method], measured=study.pretrained)
    checkpoints = {
        **{f'epoch-{epoch}': f'{folder}/pretrained/epoch_{epoch}.pth' for epoch in study.pretrained.epochs},
        'pretrained': pretrained,
    }
    for network, checkpoint in checkpoints.items() if study.pretrained.suites else ():
        with costs.of(f'robustness-{network}'):
            figures = _robustness(run, measured, checkpoint, folder / f'attacked-{network}')
        yield network, figures
    for network, tuning in study.tunings_of(run.method).items():
        name = f'-{network}' if network else ''
        with costs.of(f'fine-tuning{name}'):
            encoder: str | Path = trained
            if tuning.domain != 'clean':
                encoder = folder / f'{tuning.domain}.pth'
                export(trained, 'mmpretrain', domain=tuning.domain, out=encoder, force=True)
            start = f'model.backbone.init_cfg.checkpoint={encoder}'
            _, tuned = _train(run, tuning, folder / f'tuned{name}', start)
            figures = dict(fine_tuned=read_scalars(folder / f'tuned{name}', ACCURACY)[ACCURACY][1][-1])
        if tuning.measured.suites:
            with costs.of(f'robustness{name}'):
                figures |= _robustness(run, tuning, tuned, folder / f'attacked{name}')
        yield network, figures


def _make_ready(folder: Path, config_hash: str) -> bool:
    """Empty the folder of a run whose study has changed; return whether the run goes on from an interruption."""
    marker = folder / 'config_hash'
    goes_on = marker.is_file() and marker.read_text() == config_hash
    if not goes_on:
        shutil.rmtree(folder, ignore_errors=True)
        write_whole(marker, config_hash.encode())
    return goes_on


def _train(run: Run, training: Training, folder: Path, *options: str) -> tuple[Any, str]:
    """Train, or go on with it; return the Runner and the path of its last checkpoint."""
    # mmengine finds loggers by this name and the time in seconds.
    name = f'experiment_name={run.name}-{folder.name}-{next(_trainings)}'
    options = (*training.options, *options, name, f'randomness.seed={run.seed}')
    runner = train(training.config, options=options, work_dir=folder, resume='auto')
    return runner, str(find_latest_checkpoint(str(folder)))


def _probe(run: Run, runner: Any) -> dict:
    """Return the accuracies of the frozen encoder in percent, on the images of the fine-tuning."""
    tuning = run.study.fine_tuning
    cfg = load_config(tuning.config, options=tuning.options) if tuning else runner.cfg
    runner.model.eval()
    train_set, test_set = (extract_features(runner.model, labelled_data(cfg, split)) for split in ('train', 'test'))
    neighbours = min(20, len(train_set[1]))
    return dict(linear=linear_probe_accuracy(train_set, test_set), knn=knn_accuracy(train_set, test_set, k=neighbours))


def _robustness(run: Run, training: Training, checkpoint: str, folder: Path) -> dict[str, float]:
    """Return the figure of each condition, and as ``corruptions`` the mean accuracy under all of them."""
    found = measure(
        training.config,
        f'trained={checkpoint}',
        suites=training.measured.suites,
        only=training.measured.only,
        limit=training.measured.images or run.study.attacked_images,
        out=folder,
        checks=False,
        options=training.options,
    )
    figures = {}
    for name, one in found.measurements['trained'].items():
        figures |= {name: one.accuracy} if one.correct is not None else {}
        figures |= {f'{name}/{figure}': interval.estimate for figure, interval in one.others.items()}
    corruptions = [name for name, condition in found.conditions.items() if condition.group == 'corruptions']
    return figures | ({'corruptions': fmean(figures[name] for name in corruptions)} if corruptions else {})
