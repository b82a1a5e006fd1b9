"""Does pre-training pay on your images? Compare training from scratch, MAE and AEMIM on a labelled folder.

Run:       python tools/compare_on_folder.py DIR --out work_dirs/compare
Needs:     DIR/<class>/any/depth/*.jpg, and the extra `study`
Duration:  one pre-training and one fine-tuning for each method and seed

A share of each class is kept for tests. A hash of the paths chooses it, so it is always the same. The other images are
pre-trained on without labels, then fine-tuned on with labels: all of them, or --labels of each class. Runs with one
seed are a pair, of the same initial weights and data order. The report gives each difference with its interval.

The network is that of configs/demo/aemim_vit-tiny_50e_folder.py.
The same command goes on with an interrupted comparison. OUT/study.py is a study, see docs/studies.md.
"""

import argparse
import hashlib
import os
import shlex
import sys
from pathlib import Path

import study

TOOLS = Path(__file__).resolve().parent
ATTACKS = ('pgd/2', 'pgd/8')
HOW_TO_READ = (
    'Differences are between runs with the same seed, in percentage points. An interval that excludes 0 shows a '
    'difference. Visible is the difference that so many seeds show with a probability of 80 %. All runs have the same '
    'test images, and the intervals hold for these only. The standard error of an accuracy on {tests} images is up to '
    '{error:.1f} points.'
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare training from scratch, MAE and AEMIM on a labelled folder.')
    parser.add_argument('folder', type=Path, help='folder with one folder of images for each class')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/compare'), help='(default: work_dirs/compare)')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='2 or more (default: 3)')
    parser.add_argument(
        '--eps', type=float, nargs='+', default=[2, 16], help='of AEMIM, 0-255; each is a method (default: 2 16)'
    )
    parser.add_argument('--epochs', type=int, default=100, metavar='N', help='of pre-training (default: 100)')
    parser.add_argument('--tuning-epochs', type=int, default=50, metavar='N', help='of fine-tuning (default: 50)')
    parser.add_argument('--labels', type=int, metavar='N', help='labelled images of each class (default: all)')
    parser.add_argument('--test-share', type=float, default=0.25, help='share of each class (default: 0.25)')
    parser.add_argument('--no-attacks', action='store_true', help='do not measure the accuracy under PGD')
    parser.add_argument('--lanes', type=int, metavar='N', help='trainings at a time, as of tools/study.py')
    args = parser.parse_args()
    if args.seeds < 2 or min(args.epochs, args.tuning_epochs) < 2:
        parser.error('--seeds, --epochs and --tuning-epochs are 2 or more')
    if (args.labels or 1) < 1 or not 0 < args.test_share < 1 or not all(0 < eps <= 255 for eps in args.eps):
        parser.error('--labels is 1 or more, --test-share between 0 and 1, and --eps above 0 and up to 255')
    args.out = args.out.resolve()
    return args


def main():
    args = parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        check_extra()
        tests = write_study(args)
        todo = dict(only=[], list=False, print_commands=False, budget_minutes=None, lanes=args.lanes)
        folders = dict(study=args.out / 'study.py', out=args.out / 'records', work_dir=args.out / 'runs')
        failed = None
        try:
            study.run_study(argparse.Namespace(**todo, **folders))
        except SystemExit as error:  # Some runs failed. The others are worth a report.
            failed = error
        print(write_page(args, tests))
        if failed:
            raise failed


def check_extra() -> None:
    """Raise a UserError if the package for statistics is missing; it is needed once all runs are done."""
    from aemim_mm.errors import UserError

    try:
        import scipy  # noqa: F401
    except ImportError as error:
        raise UserError("A comparison needs scipy. Install it: pip install 'aemim-mm[study]', or scipy.") from error


def write_study(args: argparse.Namespace) -> int:
    """Write lists of the images, and the study; return the number of test images."""
    from aemim_mm.datasets.splits import split_folder
    from aemim_mm.errors import first_of

    split = split_folder(args.folder, args.test_share, args.labels)
    args.out.mkdir(parents=True, exist_ok=True)
    lists = {}
    for name in ('unlabelled', 'labelled', 'test'):
        images = getattr(split, name)
        content = os.fsencode(''.join(f'{image.path} {image.label}\n' for image in images))
        # A run is done again if its config has changed, hence another name for another content.
        lists[name] = args.out / f'{name}-{hashlib.sha256(content).hexdigest()[:8]}.txt'
        lists[name].write_bytes(content)
    if split.unreadable:
        print(f'{len(split.unreadable)} files cannot be read, and are left out: {first_of(split.unreadable)}')
    print(
        f'{args.folder}: {len(split.classes)} classes; {len(split.unlabelled)} images to pre-train on, '
        f'{len(split.labelled)} to fine-tune on, {len(split.test)} for tests',
        flush=True,
    )
    configs, root = TOOLS.parent / 'configs/demo', args.folder.resolve()
    # An epoch has eight steps or more, if there are enough images.
    batch, tuned = (max(min(len(images) // 8, 50), 2) for images in (split.unlabelled, split.labelled))
    methods = {
        # The encoder of MAE before its pre-training: an epoch at a learning rate of 0.
        'scratch': dict(
            config=f'{configs}/mae_vit-tiny_50e_folder.py',
            options=['train_cfg.max_epochs=1', 'param_scheduler=None', 'optim_wrapper.optimizer.lr=0'],
            # Layer decay suits pre-trained layers only.
            fine_tuning_options=[
                f'optim_wrapper.optimizer.lr={5e-4 * tuned / 50}',
                'optim_wrapper.paramwise_cfg.layer_decay_rate=1.0',
            ],
        ),
        'MAE': dict(config=f'{configs}/mae_vit-tiny_50e_folder.py', options=_schedule(args.epochs)),
    }
    for eps in args.eps:
        budget = [f'model.data_preprocessor.eps={eps:g}', f'model.data_preprocessor.step_size={eps / 2:g}']
        methods[f'AEMIM-eps{eps:g}'] = dict(
            config=f'{configs}/aemim_vit-tiny_50e_folder.py',
            options=[*_schedule(args.epochs), *budget, 'custom_hooks=[]'],
        )
    declared = dict(
        methods=methods,
        baseline='scratch',
        seeds=list(range(args.seeds)),
        options=[
            # Its labels are not used. A list of paths without labels cannot have names that are no UTF-8.
            'train_dataloader.dataset.type=LabelledFolder',
            f'train_dataloader.dataset.data_root={root}',
            f'train_dataloader.dataset.ann_file={lists["unlabelled"]}',
            f'train_dataloader.batch_size={batch}',
            f'optim_wrapper.optimizer.lr={1e-3 * batch / 125}',
        ],
        fine_tuning=dict(
            config=f'{configs}/vit-tiny_50e_folder.py',
            options=[
                *(f'{part}_dataloader.dataset.data_root={root}' for part in ('train', 'val', 'test')),
                *(f'{part}_dataloader.dataset.data_prefix=""' for part in ('train', 'val', 'test')),
                f'train_dataloader.dataset.ann_file={lists["labelled"]}',
                *(f'{part}_dataloader.dataset.ann_file={lists["test"]}' for part in ('val', 'test')),
                f'model.head.num_classes={len(split.classes)}',
                f'data_preprocessor.num_classes={len(split.classes)}',
                f'train_dataloader.batch_size={tuned}',
                f'optim_wrapper.optimizer.lr={3e-3 * tuned / 50}',
                *_schedule(args.tuning_epochs),
                f'train_cfg.val_interval={args.tuning_epochs}',
            ],
            suites=[] if args.no_attacks else ['white-box'],
            only=list(ATTACKS),
        ),
        attacked_images=min(len(split.test), 1000),
        primary='fine_tuned',
    )
    head = '"""Study: training from scratch, MAE and AEMIM on a folder, by tools/compare_on_folder.py."""\n\n'
    text = head + ''.join(f'{name} = {value!r}\n' for name, value in declared.items())
    (args.out / 'study.py').write_text(text, 'utf-8')
    return len(split.test)


def _schedule(epochs: int) -> list[str]:
    warmup = max(epochs // 20, 1)
    return [
        f'train_cfg.max_epochs={epochs}',
        f'param_scheduler.0.end={warmup}',
        f'param_scheduler.1.begin={warmup}',
        f'param_scheduler.1.T_max={epochs - warmup}',
        f'param_scheduler.1.end={epochs}',
    ]


def write_page(args: argparse.Namespace, tests: int) -> str:
    """Write the report over the seeds that all methods have; return where it is, or why there is none."""
    from aemim_mm.report import Table, write_report
    from aemim_mm.report.machine import processor_name
    from aemim_mm.report.table import cells
    from aemim_mm.study.perform import finished
    from aemim_mm.study.reading import read_study
    from aemim_mm.study.tables import DIFFERENCE_COLUMNS, differences, mean_columns, means

    methods = {}
    for run in read_study(args.out / 'study.py').runs():
        methods.setdefault(run.method, {})[run.seed] = finished(run, args.out / 'records')
    seeds = [seed for seed in range(args.seeds) if all(runs[seed] for runs in methods.values())]
    if len(seeds) < 2:
        return 'There is no report, because fewer than two seeds are whole. The same command tries the others again.'
    records = [runs[seed] for seed in seeds for runs in methods.values()]
    # The features of an encoder without pre-training are no rival to others.
    gains = differences(records, measures=['fine_tuned', 'pgd_2', 'pgd_8'])
    over_mae = differences([record for record in records if record['values']['method'] != 'scratch'], 'MAE')
    caption = f'Top-1 on {tests} test images, in percent; under attack, on up to 1,000 of them. Means over the seeds.'
    sentence = (
        '{name} against {baseline}, fine-tuned: {mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, {pairs} '
        'seeds): {verdict}.'
    )
    how = HOW_TO_READ.format(error=50 / tests**0.5, tests=tests)
    tables = (
        ('Figures', caption, means(records), mean_columns(records)),
        ('Against training from scratch', how, gains, DIFFERENCE_COLUMNS),
        ('Against MAE', how, over_mae, DIFFERENCE_COLUMNS),
    )
    trainings = [f'{name}={args.out}/runs/{name}-seed{seeds[0]}/pretrained' for name in methods if name != 'scratch']
    page = write_report(
        args.out / 'report.html',
        title=f'Does pre-training pay on {args.folder.resolve().name}?',
        summary=[
            sentence.format_map(dict(row, name=name.split(',')[0], baseline=baseline))
            for baseline, rows in (('training from scratch', gains), ('MAE', over_mae))
            for name, row in rows.items()
            if 'primary' in name
        ],
        facts=dict(images=str(args.folder), seeds=str(len(seeds)), epochs=str(args.epochs), machine=processor_name()),
        sections=[Table(title, text, *cells(rows, columns)) for title, text, rows, columns in tables],
        next_steps=[
            (
                'Pre-train a larger network on all images:',
                'python tools/train.py configs/aemim_vit-b_folder.py --data-root DIR',
            ),
            ('Look at the trainings:', shlex.join(['python', 'tools/analysis_tools/report.py', *trainings])),
        ],
    )
    return f'Report: {page}'


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nStopped. The same command goes on.')
