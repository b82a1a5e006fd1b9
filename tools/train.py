"""Train with a config of mmpretrain, mmdet or this project.

Example:
    python tools/train.py configs/aemim_vit-b_800e.py --data-root /path/to/imagenet
"""

import argparse
import os


def parse_args() -> dict:
    parser = argparse.ArgumentParser(description='Train with a config of mmpretrain, mmdet or this project.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help='data folder, in place of data_root in every data set of the config. For COCO: '
        'annotations/instances_{train,val}2017.json and {train,val}2017/, or annotations/{train,val}.json and '
        '{train,val}/',
    )
    parser.add_argument(
        '--classes',
        metavar='A,B,C',
        help="detection: the classes, all in the annotation file (default: that file's categories)",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='resume from this checkpoint; without a value, from the latest one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the real batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--no-validate', dest='validate', action='store_false', help='do not evaluate during training')
    parser.add_argument(
        '--cfg-options',
        dest='options',
        nargs='+',
        metavar='KEY=VALUE',
        help='change the config, e.g. model.adv_weight=0.5 data_preprocessor.eps=4',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='run whatever code a checkpoint contains, for old files that need it; without this, they are refused',
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
    from aemim_mm.launch import one_clear_error, train

    with one_clear_error():
        train(**args)


if __name__ == '__main__':
    main()
