"""Synthetic images in the layout of ImageNet, for machines without a data set."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (500, 375)  # The most frequent size in ImageNet.
CLASSES, IMAGES = 1000, 32


def synthetic_imagenet(folder: Path) -> str:
    """Write smooth noise as JPEGs in the layout of ImageNet, one file in each class, and the list of all files.

    Args:
        folder: Where to write. The classes share ``IMAGES`` different images by hard links.

    Returns:
        The folder, for ``data_root``.
    """
    random = np.random.default_rng(0)
    paths = [folder / f'train/n{label:08}/0.JPEG' for label in range(CLASSES)]
    for label, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        if label >= IMAGES:
            os.link(paths[label % IMAGES], path)
            continue
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(SIZE, Image.BICUBIC)
        grain = random.integers(-8, 9, (*SIZE[::-1], 1))
        Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(path)
    lines = [f'{path.parent.name}/{path.name} {label}\n' for label, path in enumerate(paths)]
    (folder / 'meta').mkdir()
    (folder / 'meta/train.txt').write_text(''.join(lines))
    return str(folder)
