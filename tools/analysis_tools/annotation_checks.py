#!/usr/bin/env python
"""Measure how long the checks of an annotation file take, beside json.load, on a file of the size of COCO train2017.

Example:
    python tools/analysis_tools/annotation_checks.py --record results/annotation_checks.json
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

# Of COCO train2017.
IMAGES, ANNOTATIONS, CATEGORIES, CROWDS = 118_287, 860_001, 80, 0.012
WIDTH, HEIGHT = 640, 480


def parse_args():
    parser = argparse.ArgumentParser(description='Measure how long the checks of an annotation file take.')
    parser.add_argument('--images', type=int, default=IMAGES, help=f'number of images (default: {IMAGES})')
    parser.add_argument(
        '--annotations', type=int, default=ANNOTATIONS, help=f'number of annotations (default: {ANNOTATIONS})'
    )
    parser.add_argument('--repetitions', type=int, default=3, metavar='N', help='runs, of which the median is kept')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    args = parser.parse_args()
    if min(args.images, args.annotations, args.repetitions) < 1:
        parser.error('--images, --annotations and --repetitions are at least 1')
    return args


def shapes(generator, count: int) -> list[str]:
    """Return the fields of objects as JSON: bbox, area, iscrowd, segmentation. Polygons have 23 points in the mean."""
    found = []
    for number in range(count):
        centre, radius = generator.uniform((80, 80), (WIDTH - 80, HEIGHT - 80)), generator.uniform(4, 80)
        angles = np.linspace(0, 2 * np.pi, 3 + generator.poisson(20), endpoint=False)
        corners = (centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).round(2)
        (x, y), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        crowd = number < CROWDS * count
        # A crowd has run lengths.
        runs = dict(size=[HEIGHT, WIDTH], counts=[1024] * (HEIGHT * WIDTH // 1024))
        fields = dict(
            segmentation=runs if crowd else [corners.flatten().tolist()],
            area=float(radius**2),
            iscrowd=int(crowd),
            bbox=[float(value) for value in (x, y, right - x, bottom - y)],
        )
        found.append(json.dumps(fields)[1:])
    return found


def write_annotations(path: Path, images: int, annotations: int) -> None:
    """Write an annotation file with random polygons."""
    generator = np.random.default_rng(0)
    kinds = shapes(generator, 2000)
    categories = [dict(id=number + 1, name=f'class {number}') for number in range(CATEGORIES)]
    drawn = generator.integers([images, CATEGORIES, len(kinds)], size=(annotations, 3))
    with path.open('w', encoding='utf-8') as file:
        listed = [dict(id=i + 1, file_name=f'{i + 1:012d}.jpg', width=WIDTH, height=HEIGHT) for i in range(images)]
        file.write(f'{{"images": {json.dumps(listed)}, "categories": {json.dumps(categories)}, "annotations": [')
        for number, (image, category, kind) in enumerate(drawn.tolist()):
            comma = ', ' if number else ''
            ids = f'"id": {number + 1}, "image_id": {image + 1}, "category_id": {category + 1}'
            file.write(f'{comma}{{{ids}, {kinds[kind]}')
        file.write(']}')


def timed(function, *args):
    """Return the result of a call, and its seconds."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def load(path: Path) -> dict:
    with path.open(encoding='utf-8') as file:
        return json.load(file)


def main():
    args = parse_args()
    # Imported here, because these imports take seconds and --help needs none of them.
    from aemim_mm.det.annotation_checks import check_annotations
    from aemim_mm.det.annotation_files import read_annotations, without_collection
    from aemim_mm.det.annotation_masks import check_masks
    from aemim_mm.report.record import write_record

    times = {'json_load': [], 'read_and_check': [], 'check': []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'annotations.json'
        write_annotations(path, args.images, args.annotations)
        for number in range(args.repetitions):
            print(f'repetition {number + 1} of {args.repetitions}', file=sys.stderr, flush=True)
            content, seconds = timed(load, path)
            times['json_load'].append(seconds)
            with without_collection():
                seconds = timed(check_annotations, str(path), content)[1]
                seconds += timed(check_masks, str(path), content, 'the benchmark does')[1]
            times['check'].append(seconds)
            del content
            gc.collect()
            content, seconds = timed(read_annotations, str(path))
            times['read_and_check'].append(seconds)
            del content
            gc.collect()
        size = path.stat().st_size
    seconds = {name: median(values) for name, values in times.items()}
    values = dict(
        images=args.images,
        annotations=args.annotations,
        megabytes=size / 1e6,
        seconds=seconds,
        check_to_json_load=median(check / base for check, base in zip(times['check'], times['json_load'])),
    )
    print(json.dumps(values, indent=1))
    if args.record:
        write_record(args.record, values, seed=0)


if __name__ == '__main__':
    main()
