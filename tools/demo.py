"""`make demo`: pre-train AEMIM and MAE on embedded data, fine-tune, probe and attack the encoders, write a report.

Finished jobs are skipped, and an interrupted job is resumed. The demo needs no network and no GPU.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS, FINE_TUNING, ROBUST_FINE_TUNING = (
    {name: REPOSITORY / f'configs/demo/{config}_16e_fashion-mnist.py' for name, config in configs.items()}
    for configs in (
        {'AEMIM': 'aemim_vit-tiny', 'MAE': 'mae_vit-tiny'},
        {'scratch': 'vit-tiny-scratch', 'MAE': 'vit-tiny', 'AEMIM': 'vit-tiny'},
        {'scratch': 'vit-tiny-pgd-at-scratch', 'MAE': 'vit-tiny-pgd-at', 'AEMIM': 'vit-tiny-pgd-at'},
    )
)
EPOCHS = 16  # of every config
ATTACKED = 300  # test images in the robustness table
PARTS = 22  # measurements in the suite `demo`
# Figures of the pre-trainings for the report. They change no weight.
INSTRUMENTS = '--cfg-options=custom_hooks=[dict(type="InstrumentsHook",interval=2,knn=20)]'
RESULTS = dict(train=f'epoch_{EPOCHS}.pth', probe='probe.json', attack='results.json')


class Job(NamedTuple):
    """One run of a tool, in a process of its own.

    Args:
        name: Name that the user reads.
        config: The config file.
        folder: Where the results go.
        share: Rough share of the demo's time, for the estimate of the remaining time.
        needs: The jobs whose checkpoints this job starts from or measures.
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
        """The file that the job writes last."""
        return self.folder / RESULTS[self.tool]

    def fingerprint(self) -> str:
        """Return a hash of everything that the result depends on: config, code of the package, data, encoder."""
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
        """Return whether the result is there and nothing that it depends on has changed."""
        marker = self.folder / 'done.json'
        if not all(job.is_done() for job in self.needs) or not marker.is_file() or not self.result.is_file():
            return False
        return json.loads(marker.read_text())['fingerprint'] == self.fingerprint()

    def command(self) -> list[str]:
        """Make the folder ready, and return the command line that starts or resumes the job there."""
        now, state = self.fingerprint(), self.folder / 'started.txt'
        self.folder.mkdir(parents=True, exist_ok=True)
        resume = state.is_file() and state.read_text() == now and not (self.folder / 'done.json').exists()
        if not resume:
            for pattern in ('done.json', '*.pth', '*.pth.*', 'last_checkpoint', '*/vis_data/*.json'):
                for old in self.folder.glob(pattern):
                    old.unlink()
        state.write_text(now)
        needed = [job.result for job in self.needs]
        start = [f'--cfg-options=model.backbone.init_cfg.checkpoint={checkpoint}' for checkpoint in needed]
        start += [INSTRUMENTS] * self.name.startswith('pre-training')
        flags = ['--suite', 'demo', '--limit', ATTACKED, '--no-checks', '--out', self.folder]
        tool, *flags = dict(
            train=['train.py', '--work-dir', self.folder, *['--resume'] * resume, *start],
            probe=['analysis_tools/probe.py', *needed, '--out', self.result],
            attack=['robustness.py', *(f'top-1={checkpoint}' for checkpoint in needed), *flags],
        )[self.tool]
        return [sys.executable, str(REPOSITORY / 'tools' / tool), str(self.config), *map(str, flags)]

    def progress(self, line: str, before: float) -> tuple[float, str]:
        """Return the finished fraction after a line of the log, and a status text if the line has one.

        Args:
            line: A line of the log.
            before: The finished fraction before this line.
        """
        if found := re.search(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*? loss: (\S+)', line):
            epoch, step, steps = map(int, found.groups()[:3])
            return (epoch - 1 + step / steps) / EPOCHS, f'epoch {epoch} of {EPOCHS}, loss {found[4]}'
        if self.tool == 'attack' and (found := re.search(r'^\S+: (\S+) (\S+) \(\d+ s\)$', line)):
            return before + 1 / PARTS, f'{found[2]} under {found[1]}'
        return before, ''


def plan(out: Path, robust_too: bool = False) -> list[Job]:
    """Return all jobs of the demo in order of priority.

    Args:
        out: Folder with a sub-folder for each job.
        robust_too: Also fine-tune on adversarial examples.
    """
    pretrained = {
        name: Job(f'pre-training {name}', config, out / name.lower(), share)
        for (name, config), share in zip(CONFIGS.items(), (0.45, 0.18))
    }
    jobs = list(pretrained.values())
    kinds = {'finetuned': ('fine-tuning', FINE_TUNING, 0.05), 'pgd-at': ('robust fine-tuning', ROBUST_FINE_TUNING, 0.1)}
    # AEMIM comes last because its pre-training takes longest.
    for name in FINE_TUNING:
        lower, needs = name.lower(), tuple(pretrained[key] for key in pretrained if key == name)
        for kind, (verb, configs, share) in list(kinds.items())[: 1 + robust_too]:
            tuned = Job(f'{verb} {name}', configs[name], out / f'{kind}-{lower}', share, needs)
            what = f'attacking {name} after {verb}'
            jobs += [tuned, Job(what, tuned.config, out / f'attacked-{kind}-{lower}', 0.04, (tuned,), 'attack')]
        for encoder in needs:
            jobs.append(Job(f'probing {name}', encoder.config, out / f'probed-{lower}', 0.05, needs, 'probe'))
    return jobs


async def run(job: Job, bars: Progress, total: TaskID) -> None:
    """Run one job: its output goes to ``log.txt``, its progress to the screen.

    Raises:
        CommandFailed: The process ended with an error; the message holds the last lines of the log.
    """
    from aemim_mm.study.lanes import run_command  # after --help: the import takes seconds

    started, log, bar = time.time(), job.folder / 'log.txt', bars.add_task(job.name, total=1, words='')

    def show(fraction, words):
        bars.advance(total, job.share * (fraction - bars.tasks[bar].completed))
        bars.update(bar, completed=fraction, visible=fraction < 1, **(dict(words=words) if words else {}))

    print(f'{job.name}: started, log in {os.path.relpath(log)}', flush=True)
    await run_command(
        job.name,
        job.command(),
        log,
        cwd=REPOSITORY,
        see=lambda line: show(*job.progress(line, bars.tasks[bar].completed)),
    )
    seconds = time.time() - started
    (job.folder / 'done.json').write_text(json.dumps(dict(fingerprint=job.fingerprint(), seconds=seconds)))
    show(1, '')
    print(f'{job.name}: done in {seconds:.0f} s', flush=True)


async def run_in_lanes(jobs: list[Job], bars: Progress) -> None:
    """Run jobs, ``LANES`` at a time, each after the jobs that it needs."""
    from aemim_mm.study.lanes import LANES

    lanes, tasks = asyncio.Semaphore(LANES), {}
    total = bars.add_task('all', total=sum(job.share for job in jobs), words='')

    async def run_after_needs(job):
        await asyncio.gather(*(tasks[need] for need in job.needs if need in tasks))
        async with lanes:
            await run(job, bars, total)

    for job in jobs:
        tasks[job] = asyncio.create_task(run_after_needs(job))
    await asyncio.gather(*tasks.values())


def run_all(jobs: list[Job]) -> None:
    """Run jobs with progress bars. If one fails, end the others, and exit with the last lines of its log."""
    from aemim_mm.study.lanes import CommandFailed

    columns = TextColumn('{task.description}'), BarColumn(16), TimeRemainingColumn(), TextColumn('{task.fields[words]}')
    try:
        with Progress(*columns, transient=True, speed_estimate_period=120) as bars:
            asyncio.run(run_in_lanes(jobs, bars))
    except CommandFailed as error:
        sys.exit(str(error))


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='where everything goes')
    parser.add_argument('--robust', action='store_true', help='fine-tune on adversarial examples too: 5 minutes more')
    parser.add_argument('--record', type=Path, metavar='FILE', help='write all figures there, as a record')
    args = parser.parse_args()
    out = args.out.resolve()
    jobs = plan(out, args.robust)
    todo = [job for job in jobs if not job.is_done()]
    for job in jobs:
        if job not in todo:
            print(f'{job.name}: done already, in {os.path.relpath(job.folder)}')
    if todo:
        run_all(todo)

    from demo_report import demo_figures, write_demo_report  # after --help: the import takes seconds

    from aemim_mm.report.record import write_record

    page = write_demo_report(CONFIGS, FINE_TUNING, out, args.robust)
    if args.record:
        configs = [path.relative_to(REPOSITORY).as_posix() for path in (*CONFIGS.values(), *FINE_TUNING.values())]
        write_record(args.record, demo_figures(out, args.robust), config=sorted(set(configs)), seed=0)
    print(f"""
Report:      {os.path.relpath(page)}
Checkpoint:  {os.path.relpath(jobs[0].result)}
Next, on your own images (a folder, nested or flat, no labels needed):
    .venv/bin/python tools/train.py configs/aemim_vit-b_folder.py --data-root DIR""")


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nStopped. The same command resumes from the last checkpoint.')
