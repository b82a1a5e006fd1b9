"""Measure robustness: attacks, corruptions and distribution shift, of classifiers, pre-training models and detectors.

Example:
    python tools/robustness.py CONFIG CHECKPOINT --suite white-box corruptions --limit 1000
"""

import argparse
import os
import sys


def parse_args() -> dict:
    parser = argparse.ArgumentParser(
        description='Measure the robustness of a classifier or pre-training model of mmpretrain, or a mmdet detector.'
    )
    parser.add_argument('config', help='config file of the model')
    parser.add_argument('checkpoint', metavar='[LABEL=]CHECKPOINT', help='checkpoint file or URL')
    parser.add_argument(
        '--suite',
        dest='suites',
        nargs='+',
        default=['clean'],
        metavar='NAME',
        help='classifiers: clean, white-box, cw (Carlini and Wagner), autoattack, encoder (attacks on features), '
        'corruptions (made on the fly), demo; from disk: shift, imagenet-c. Pre-training models: encoder, crossed. '
        'Detectors: clean, white-box, corruptions',
    )
    parser.add_argument(
        '--only',
        nargs='+',
        default=[],
        metavar='PATTERN',
        help="only conditions of these names, such as pgd/4 or '*/3'; clean is always measured",
    )
    parser.add_argument(
        '--compare',
        nargs='+',
        default=[],
        metavar='[LABEL=][CONFIG.py:]CHECKPOINT',
        help='other models, side by side; of the same config unless they name one, whose test images must be the same',
    )
    parser.add_argument('--data-root', metavar='DIR', help="data folder of the config's own test data set")
    parser.add_argument(
        '--shift-root',
        metavar='DIR',
        default='data',
        help='folder with imagenet-{v2,real,a,r,sketch,stylized,c} and objectnet (default: data)',
    )
    parser.add_argument('--limit', type=int, metavar='N', help='only N images, a fixed random sample')
    parser.add_argument(
        '--out', metavar='DIR', default='work_dirs/robustness', help='where results go; finished parts stay there'
    )
    parser.add_argument(
        '--quantize', action='store_true', help='round attacked images to 8 bits, inside the budget and in [0, 255]'
    )
    parser.add_argument(
        '--cw-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help="fields of Carlini and Wagner's attack, such as steps=1000 (default 200) or binary_search_steps=9 (6)",
    )
    parser.add_argument(
        '--no-checks', dest='checks', action='store_false', help='leave out the sanity checks of attacks'
    )
    parser.add_argument(
        '--cfg-options', dest='options', nargs='+', metavar='KEY=VALUE', help='change the config, or all of them'
    )
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='run whatever code a checkpoint contains, for old files'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun passes --local_rank up to torch 1.x, and --local-rank from 2.0 on.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    args = vars(parser.parse_args())
    os.environ.setdefault('LOCAL_RANK', str(args.pop('local_rank')))
    return args


def main():
    args = parse_args()
    # Imported late: importing the stack takes seconds, and --help is to answer at once.
    from aemim_mm.launch import one_clear_error
    from aemim_mm.robustness import measure

    with one_clear_error():
        found = measure(**args)
    if found.table:  # On the main process.
        print(found.table)
    if found.missing:
        sys.exit(2)


if __name__ == '__main__':
    main()
