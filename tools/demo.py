"""`make demo`: pre-train AEMIM and MAE on embedded data, fine-tune and probe both encoders, and write a report.

What is done already is not done again; an interrupted run goes on where it was. Needs no network and no GPU.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS = {
    'AEMIM': REPOSITORY / 'configs/demo/aemim_vit-tiny_16e_fashion-mnist.py',
    'MAE': REPOSITORY / 'configs/demo/mae_vit-tiny_16e_fashion-mnist.py',
}
FINE_TUNING = {
    'AEMIM': REPOSITORY / 'configs/demo/vit-tiny_16e_fashion-mnist.py',
    'MAE': REPOSITORY / 'configs/demo/vit-tiny_16e_fashion-mnist.py',
    'scratch': REPOSITORY / 'configs/demo/vit-tiny-scratch_16e_fashion-mnist.py',
}
EPOCHS = 16  # Of all these configs.


class Training(NamedTuple):
    """One run of tools/train.py.

    Args:
        name: What the user reads.
        config: The config file.
        work_dir: Where its checkpoints go.
        share: Of the whole time of the demo, roughly: what the ETA is computed with.
        encoder: The training whose encoder this one starts from.
    """

    name: str
    config: Path
    work_dir: Path
    share: float
    encoder: 'Training | None' = None

    @property
    def checkpoint(self) -> Path:
        return self.work_dir / f'epoch_{EPOCHS}.pth'

    def fingerprint(self) -> str:
        """Changes with anything that the result depends on: the config, the package's code, the data, the encoder."""
        digest = hashlib.sha256()
        sources = [
            *sorted(self.config.parent.glob('*.py')),
            *sorted(self.config.parent.parent.glob('_base_/demo_*.py')),
            *sorted((REPOSITORY / 'aemim_mm').rglob('*.py')),
            *sorted((REPOSITORY / 'aemim_mm/data').rglob('*ubyte')),
            *([self.encoder.checkpoint] if self.encoder else []),
        ]
        for source in sources:
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def is_done(self) -> bool:
        if self.encoder and not self.encoder.is_done():
            return False
        marker = self.work_dir / 'done.json'
        if not marker.is_file() or not self.checkpoint.is_file():
            return False
        return json.loads(marker.read_text())['fingerprint'] == self.fingerprint()


def plan(out: Path) -> list:
    """All trainings of the demo, in their order."""
    pretraining = {
        name: Training(f'pre-training {name}', config, out / name.lower(), share)
        for (name, config), share in zip(CONFIGS.items(), (0.54, 0.23))
    }
    fine_tuning = [
        Training(
            'training from scratch' if name == 'scratch' else f'fine-tuning {name}',
            config,
            out / f'finetuned-{name.lower()}',
            0.05,
            pretraining.get(name),
        )
        for name, config in FINE_TUNING.items()
    ]
    return [*pretraining.values(), *fine_tuning]


class Progress:
    """One line with stage, progress and ETA: rewritten in a terminal, printed now and then elsewhere."""

    def __init__(self, total: float):
        self.total, self.done, self.started, self.last = total, 0.0, time.time(), 0.0

    def show(self, share: float, fraction: float, text: str) -> None:
        """``fraction`` of a stage is done, which is such a ``share`` of the ``total``."""
        complete = (self.done + share * fraction) / self.total
        eta = (time.time() - self.started) * (1 - complete) / complete if complete > 0.005 else None
        clock = 'unknown' if eta is None else f'{int(eta) // 60}:{int(eta) % 60:02d}'
        line = f'[{complete:4.0%}] ETA {clock}  {text}'
        if sys.stdout.isatty():
            print(f'\r\033[K{line}', end='' if fraction < 1 else '\n', flush=True)
        elif fraction >= 1 or time.time() - self.last > 5:
            self.last = time.time()
            print(line, flush=True)
        if fraction >= 1:
            self.done += share


def train(training: Training, progress: Progress) -> None:
    """Run tools/train.py; its whole output goes to a log file, its progress to the screen."""
    name, work_dir = training.name, training.work_dir
    command = _command(training)
    started = time.time()
    log = work_dir / 'train.log'
    with (
        log.open('w') as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY
        ) as process,
    ):
        try:
            for line in process.stdout:
                file.write(line)
                found = re.search(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*?eta: (\S+).*? loss: (\S+)', line)
                if found:
                    epoch, step, steps = map(int, found.groups()[:3])
                    fraction = min((epoch - 1 + step / steps) / EPOCHS, 0.999)
                    progress.show(training.share, fraction, f'{name}: epoch {epoch} of {EPOCHS}, loss {found.group(5)}')
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        sys.exit(
            f'{name} failed with exit code {process.returncode}. Its last words (all of them: {log}):\n'
            + ''.join(log.read_text().splitlines(keepends=True)[-5:])
        )
    seconds = time.time() - started
    (work_dir / 'done.json').write_text(json.dumps(dict(fingerprint=training.fingerprint(), seconds=seconds)))
    progress.show(training.share, 1, f'{name}: done in {seconds:.0f} s')


def _command(training: Training) -> list:
    """The command that starts this training, or goes on with it; what is of another one is removed."""
    work_dir, now = training.work_dir, training.fingerprint()
    work_dir.mkdir(parents=True, exist_ok=True)
    state = work_dir / 'started.txt'
    same = state.is_file() and state.read_text() == now and not (work_dir / 'done.json').exists()
    state.write_text(now)
    command = [sys.executable, str(REPOSITORY / 'tools/train.py'), str(training.config), '--work-dir', str(work_dir)]
    if same:
        command.append('--resume')
    else:
        for pattern in ('done.json', '*.pth', 'last_checkpoint', '*/vis_data/*.json'):
            for old in work_dir.glob(pattern):
                old.unlink()
    if training.encoder:
        command += ['--cfg-options', f'model.backbone.init_cfg.checkpoint={training.encoder.checkpoint}']
    return command


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='where everything goes')
    args = parser.parse_args()
    out = args.out.resolve()
    trainings = plan(out)
    todo = [training for training in trainings if not training.is_done()]
    probe, report = 0.08, 0.02
    progress = Progress(sum(training.share for training in todo) + probe + report)
    for training in trainings:
        if training in todo:
            train(training, progress)
        else:
            print(f'{training.name}: done already, in {os.path.relpath(training.work_dir)}')

    from aemim_mm.demo import probe_encoders, write_demo_report  # seconds to import: not before --help

    table = probe_encoders(CONFIGS, out, lambda fraction, text: progress.show(probe, fraction, text))
    page = write_demo_report(CONFIGS, FINE_TUNING, out, table)
    progress.show(report, 1, 'wrote the report')
    print(f"""
Report:      {os.path.relpath(page)}
Checkpoint:  {os.path.relpath(trainings[0].checkpoint)}
Next, on your own images (a folder, nested or flat, no labels needed):
    .venv/bin/python tools/train.py configs/aemim_vit-b_folder.py --data-root DIR""")


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nStopped. The same command goes on from the last checkpoint.')
