"""`make demo`: pre-train AEMIM and MAE on the embedded data, probe both encoders, and write a report.

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

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS = {
    'AEMIM': REPOSITORY / 'configs/demo/aemim_vit-tiny_16e_fashion-mnist.py',
    'MAE': REPOSITORY / 'configs/demo/mae_vit-tiny_16e_fashion-mnist.py',
}
# Of the whole time, roughly: what the ETA is computed with.
STAGES = {'AEMIM': 0.62, 'MAE': 0.26, 'probe': 0.1, 'report': 0.02}


class Progress:
    """One line with stage, progress and ETA: rewritten in a terminal, printed now and then elsewhere."""

    def __init__(self, pending):
        self.pending, self.done, self.started, self.last = list(pending), 0.0, time.time(), 0.0
        self.total = sum(STAGES[name] for name in pending)

    def show(self, name: str, fraction: float, text: str) -> None:
        complete = (self.done + STAGES[name] * fraction) / self.total
        eta = (time.time() - self.started) * (1 - complete) / complete if complete > 0.005 else None
        clock = 'unknown' if eta is None else f'{int(eta) // 60}:{int(eta) % 60:02d}'
        line = f'[{complete:4.0%}] ETA {clock}  {text}'
        if sys.stdout.isatty():
            print(f'\r\033[K{line}', end='' if fraction < 1 else '\n', flush=True)
        elif fraction >= 1 or time.time() - self.last > 5:
            self.last = time.time()
            print(line, flush=True)
        if fraction >= 1:
            self.done += STAGES[name]


def fingerprint(config: Path) -> str:
    """Changes with anything that the result depends on: the resolved config, the package's code, the data."""
    digest = hashlib.sha256()
    sources = [
        config,
        *sorted(config.parent.parent.glob('_base_/*.py')),
        *sorted((REPOSITORY / 'aemim_mm').rglob('*.py')),
        *sorted((REPOSITORY / 'aemim_mm/data').rglob('*ubyte')),
    ]
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def is_trained(config: Path, work_dir: Path) -> bool:
    marker = work_dir / 'done.json'
    if not marker.is_file() or not (work_dir / 'epoch_16.pth').is_file():
        return False
    return json.loads(marker.read_text())['fingerprint'] == fingerprint(config)


def train(name: str, config: Path, work_dir: Path, progress: Progress) -> None:
    """Run tools/train.py; its whole output goes to a log file, its progress to the screen."""
    work_dir.mkdir(parents=True, exist_ok=True)
    state = work_dir / 'started.txt'
    same = state.is_file() and state.read_text() == fingerprint(config) and not (work_dir / 'done.json').exists()
    state.write_text(fingerprint(config))
    command = [sys.executable, str(REPOSITORY / 'tools/train.py'), str(config), '--work-dir', str(work_dir)]
    if same:
        command.append('--resume')
    else:
        for pattern in ('done.json', '*.pth', 'last_checkpoint', '*/vis_data/*.json'):
            for old in work_dir.glob(pattern):
                old.unlink()
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
                    fraction = min((epoch - 1 + step / steps) / 16, 0.999)
                    progress.show(name, fraction, f'pre-training {name}: epoch {epoch} of 16, loss {found.group(5)}')
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        sys.exit(
            f'Training {name} failed with exit code {process.returncode}. Its last words (all of them: {log}):\n'
            + ''.join(log.read_text().splitlines(keepends=True)[-5:])
        )
    seconds = time.time() - started
    (work_dir / 'done.json').write_text(json.dumps(dict(fingerprint=fingerprint(config), seconds=seconds)))
    progress.show(name, 1, f'pre-trained {name} in {seconds:.0f} s')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='where everything goes')
    args = parser.parse_args()
    out = args.out.resolve()
    todo = [name for name, config in CONFIGS.items() if not is_trained(config, out / name.lower())]
    progress = Progress([*todo, 'probe', 'report'])
    for name, config in CONFIGS.items():
        if name in todo:
            train(name, config, out / name.lower(), progress)
        else:
            print(f'{name} is pre-trained already: {os.path.relpath(out / name.lower())}')

    from aemim_mm.demo import probe_encoders, write_demo_report  # seconds to import: not before --help

    table = probe_encoders(CONFIGS, out, lambda fraction, text: progress.show('probe', fraction, text))
    report = write_demo_report(CONFIGS, out, table)
    progress.show('report', 1, 'wrote the report')
    checkpoint = next((out / 'aemim').glob('epoch_16.pth'))
    print(f"""
Report:      {os.path.relpath(report)}
Checkpoint:  {os.path.relpath(checkpoint)}
Next, on your own images (a folder, nested or flat, no labels needed):
    .venv/bin/python tools/train.py configs/aemim_vit-b_folder.py --data-root DIR""")


if __name__ == '__main__':
    main()
