"""`make demo`: pre-train AEMIM and MAE on embedded data, fine-tune, probe and attack what was learned, write a report.

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
    'scratch': REPOSITORY / 'configs/demo/vit-tiny-scratch_16e_fashion-mnist.py',
    'MAE': REPOSITORY / 'configs/demo/vit-tiny_16e_fashion-mnist.py',
    'AEMIM': REPOSITORY / 'configs/demo/vit-tiny_16e_fashion-mnist.py',
}
ROBUST_FINE_TUNING = {
    'scratch': REPOSITORY / 'configs/demo/vit-tiny-pgd-at-scratch_16e_fashion-mnist.py',
    'MAE': REPOSITORY / 'configs/demo/vit-tiny-pgd-at_16e_fashion-mnist.py',
    'AEMIM': REPOSITORY / 'configs/demo/vit-tiny-pgd-at_16e_fashion-mnist.py',
}
EPOCHS = 16  # Of all these configs.
ATTACKED = 300  # Test images for the robustness table,
PARTS = 22  # and how often they are classified: see the suite `demo`.
REPORT = 0.03  # The share of writing the report.
# Two jobs with half of the cores each take little more time than one with all of them: the tensors are small.
LANES = min(os.cpu_count() or 1, 2)


class Job(NamedTuple):
    """One run of a tool, in a process of its own.

    Args:
        name: What the user reads.
        config: The config file.
        folder: Where its results go.
        share: Of the work of the demo, roughly: what the ETA is computed with.
        needs: The jobs whose checkpoints it starts from or measures.
        tool: ``train``, ``probe`` or ``attack``.
    """

    name: str
    config: Path
    folder: Path
    share: float
    needs: tuple = ()
    tool: str = 'train'

    @property
    def result(self) -> Path:
        files = dict(train=f'epoch_{EPOCHS}.pth', probe='probe.json', attack='results.json')
        return self.folder / files[self.tool]

    def fingerprint(self) -> str:
        """Changes with anything that the result depends on: the config, the package's code, the data, the encoder."""
        digest = hashlib.sha256(f'{ATTACKED}'.encode() if self.tool == 'attack' else b'')
        sources = [
            *sorted(self.config.parent.glob('*.py')),
            *sorted(self.config.parent.parent.glob('_base_/demo_*.py')),
            *sorted((REPOSITORY / 'aemim_mm').rglob('*.py')),
            *sorted((REPOSITORY / 'aemim_mm/data').rglob('*ubyte')),
            *(job.result for job in self.needs),
        ]
        for source in sources:
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def is_done(self) -> bool:
        marker = self.folder / 'done.json'
        if not all(job.is_done() for job in self.needs) or not marker.is_file() or not self.result.is_file():
            return False
        return json.loads(marker.read_text())['fingerprint'] == self.fingerprint()

    def command(self) -> list:
        """What starts this job, or goes on with it; what is of another one is removed."""
        now = self.fingerprint()
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.folder / 'started.txt'
        same = state.is_file() and state.read_text() == now and not (self.folder / 'done.json').exists()
        state.write_text(now)
        if not same:
            for pattern in ('done.json', '*.pth', '*.pth.*', 'last_checkpoint', '*/vis_data/*.json'):
                for old in self.folder.glob(pattern):
                    old.unlink()
        checkpoints = [str(job.result) for job in self.needs]
        if self.tool == 'probe':
            return self._run('analysis_tools/probe.py', *checkpoints, '--out', str(self.result))
        if self.tool == 'attack':
            flags = ['--suite', 'demo', '--limit', str(ATTACKED), '--no-checks', '--out', str(self.folder)]
            return self._run('robustness.py', f'top-1={checkpoints[0]}', *flags)
        start = [f'model.backbone.init_cfg.checkpoint={checkpoint}' for checkpoint in checkpoints]
        flags = [*(['--resume'] if same else []), *(['--cfg-options', *start] if start else [])]
        return self._run('train.py', '--work-dir', str(self.folder), *flags)

    def _run(self, tool: str, *argv) -> list:
        return [sys.executable, str(REPOSITORY / 'tools' / tool), str(self.config), *argv]

    def progress(self, line: str):
        """How far a line of the log says that the job is, and in words; None if it says nothing of that."""
        if self.tool == 'attack':
            found = re.search(r'^\S+: (\S+) (\S+) \(\d+ s\)$', line)
            return found and (None, f'{found[2]} under {found[1]}')
        found = re.search(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*?eta: (\S+).*? loss: (\S+)', line)
        if not found:
            return None
        epoch, step, steps = map(int, found.groups()[:3])
        return (epoch - 1 + step / steps) / EPOCHS, f'epoch {epoch} of {EPOCHS}, loss {found[5]}'


def plan(out: Path, robust_too=False) -> list:
    """All jobs of the demo, in the order in which they are begun.

    Args:
        robust_too: Fine-tune on adversarial examples as well.
    """
    pretrained = {
        name: Job(f'pre-training {name}', config, out / name.lower(), share)
        for (name, config), share in zip(CONFIGS.items(), (0.45, 0.18))
    }
    jobs = list(pretrained.values())
    kinds = {'finetuned': ('fine-tuning', FINE_TUNING, 0.05)}
    if robust_too:
        kinds['pgd-at'] = ('robust fine-tuning', ROBUST_FINE_TUNING, 0.1)
    # AEMIM is the last to be ready.
    for name in FINE_TUNING:
        lower, needs = name.lower(), tuple(pretrained[key] for key in pretrained if key == name)
        for kind, (verb, configs, share) in kinds.items():
            tuned = Job(f'{verb} {name}', configs[name], out / f'{kind}-{lower}', share, needs)
            what = f'attacking {name} after {verb}'
            jobs += [tuned, Job(what, tuned.config, out / f'attacked-{kind}-{lower}', 0.04, (tuned,), 'attack')]
        for encoder in needs:
            jobs.append(Job(f'probing {name}', encoder.config, out / f'probed-{lower}', 0.05, needs, 'probe'))
    return jobs


class Progress:
    """One line with stage, progress and ETA: rewritten in a terminal, printed now and then elsewhere."""

    def __init__(self, total: float):
        self.total, self.done, self.started, self.last = total, {}, time.time(), 0.0

    def show(self, share: float, fraction: float, text: str, stage='') -> None:
        """``fraction`` of a stage is done, which is such a ``share`` of the ``total``."""
        self.done[stage or share] = share * fraction
        complete = sum(self.done.values()) / self.total
        eta = (time.time() - self.started) * (1 - complete) / complete if complete > 0.005 else None
        clock = 'unknown' if eta is None else f'{int(eta) // 60}:{int(eta) % 60:02d}'
        line = f'[{complete:4.0%}] ETA {clock}  {text}'
        if sys.stdout.isatty():
            print(f'\r\033[K{line}', end='' if fraction < 1 else '\n', flush=True)
        elif fraction >= 1 or time.time() - self.last > 5:
            self.last = time.time()
            print(line, flush=True)


class Running:
    """A job's process; its whole output goes to a log file, its progress to the screen."""

    def __init__(self, job: Job):
        self.job, self.started, self.fraction, self.words = job, time.time(), 0.0, ''
        command = job.command()
        self.log, self.read = job.folder / 'log.txt', 0
        threads = str(max((os.cpu_count() or 1) // LANES, 1))
        # On small tensors, threads mostly wait for each other.
        env = {'OMP_NUM_THREADS': threads, **os.environ, 'PYTHONUNBUFFERED': '1'}
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=REPOSITORY, env=env)

    def follow(self, progress: Progress) -> bool:
        """Show how far it is; whether it has ended."""
        ended = self.process.poll() is not None
        for line in self._new_lines():
            found = self.job.progress(line)
            if found:
                self.fraction = found[0] or self.fraction + 1 / PARTS
                self.words = f'{self.job.name}: {found[1]}'
        if self.words and not ended:
            progress.show(self.job.share, min(self.fraction, 0.999), self.words, self.job.name)
        return ended

    def _new_lines(self) -> list:
        with self.log.open('rb') as log:
            log.seek(self.read)
            whole = log.read().rpartition(b'\n')[0]
        self.read += len(whole)
        return whole.decode(errors='replace').splitlines()

    def finish(self, progress: Progress) -> None:
        """Note that it is done; if it failed, leave with its last words."""
        job, seconds = self.job, time.time() - self.started
        if self.process.returncode:
            sys.exit(
                f'{job.name} failed with exit code {self.process.returncode}. Its last words (all of them: '
                f'{self.log}):\n' + ''.join(self.log.read_text(errors='replace').splitlines(keepends=True)[-5:])
            )
        (job.folder / 'done.json').write_text(json.dumps(dict(fingerprint=job.fingerprint(), seconds=seconds)))
        progress.show(job.share, 1, f'{job.name}: done in {seconds:.0f} s', job.name)

    def stop(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def run_all(jobs: list, progress: Progress) -> None:
    """Run jobs, ``LANES`` at a time, each when those that it needs are done."""
    waiting, running = list(jobs), []
    try:
        while waiting or running:
            ready = [job for job in waiting if not any(need in waiting or _is_in(running, need) for need in job.needs)]
            for job in ready[: LANES - len(running)]:
                waiting.remove(job)
                running.append(Running(job))
            time.sleep(0.3)
            for run in list(running):
                if run.follow(progress):
                    run.finish(progress)
                    run.stop()
                    running.remove(run)
    finally:
        for run in running:
            run.stop()


def _is_in(running: list, job: Job) -> bool:
    return any(run.job == job for run in running)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='where everything goes')
    parser.add_argument('--robust', action='store_true', help='fine-tune on adversarial examples too: 5 minutes more')
    args = parser.parse_args()
    out = args.out.resolve()
    jobs = plan(out, args.robust)
    todo = [job for job in jobs if not job.is_done()]
    progress = Progress(sum(job.share for job in todo) + REPORT)
    for job in jobs:
        if job not in todo:
            print(f'{job.name}: done already, in {os.path.relpath(job.folder)}')
    run_all(todo, progress)

    from demo_report import write_demo_report  # seconds to import: not before --help

    page = write_demo_report(CONFIGS, FINE_TUNING, out, args.robust)
    progress.show(REPORT, 1, 'wrote the report')
    print(f"""
Report:      {os.path.relpath(page)}
Checkpoint:  {os.path.relpath(jobs[0].result)}
Next, on your own images (a folder, nested or flat, no labels needed):
    .venv/bin/python tools/train.py configs/aemim_vit-b_folder.py --data-root DIR""")


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nStopped. The same command goes on from the last checkpoint.')
