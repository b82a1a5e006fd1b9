"""Probe frozen encoders on labelled images: 20-NN and linear classification, top-1 in percent.

Examples:
    python tools/analysis_tools/probe.py configs/demo/aemim_vit-tiny_16e_fashion-mnist.py work_dirs/demo/aemim/*.pth
    python tools/analysis_tools/probe.py configs/demo/mae_vit-tiny_16e_openclipart.py work_dirs/mae/*.pth \\
        --data configs/demo/vit-tiny_16e_openclipart.py
"""

import argparse
import json
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description='Probe frozen encoders on labelled images: 20-NN and linear, top-1.')
    parser.add_argument('config', help='config of the pre-training')
    parser.add_argument('checkpoints', nargs='*', help='checkpoints of this config; the untrained encoder comes first')
    parser.add_argument(
        '--data',
        metavar='CONFIG',
        help='config of a classifier, whose training and test images are used (default: CONFIG, if its training data '
        'are DemoFashionMNIST)',
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='run whatever code the checkpoints contain')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the figures as JSON, too')
    parser.add_argument('--record', type=Path, metavar='FILE', help='write them as a record, by names of the files')
    args = parser.parse_args()
    # Imported late: importing the stack takes seconds, and --help is to answer at once.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        probe(args)


def probe(args):
    from aemim_mm.apis.pretrained import build_model
    from aemim_mm.datasets.of_config import labelled_data
    from aemim_mm.evaluation.probe import extract_features, knn_accuracy, linear_probe_accuracy
    from aemim_mm.report.record import write_record

    data, found = args.data or args.config, {}
    print(f'{"linear":>7} {"20-NN":>7}  encoder')
    for checkpoint in (None, *args.checkpoints):
        model = build_model(args.config, checkpoint, args.trust_checkpoint)
        train, test = (extract_features(model, labelled_data(data, split)) for split in ('train', 'test'))
        name = checkpoint or 'untrained'
        found[name] = dict(linear=linear_probe_accuracy(train, test), knn=knn_accuracy(train, test))
        print(f'{found[name]["linear"]:7.1f} {found[name]["knn"]:7.1f}  {name}')
    if args.out:
        args.out.write_text(json.dumps(found, indent=2))
    if args.record:
        values = {Path(name).stem: figures for name, figures in found.items()}
        write_record(args.record, values, config=args.config, seed=0)


if __name__ == '__main__':
    main()
