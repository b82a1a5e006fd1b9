"""Image files to load, where there is no data set."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (500, 375)  # The usual one of ImageNet.
CLASSES, PICTURES = 1000, 32


def photographs(folder: Path) -> str:
    """Write smooth random JPEGs in ImageNet's layout, one name in each class; gives the folder for ``--data-root``."""
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        path = folder / f'train/n{label:08}/0.JPEG'
        path.parent.mkdir(parents=True)
        if label >= PICTURES:
            os.link(folder / f'train/n{label % PICTURES:08}/0.JPEG', path)
            continue
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(SIZE, Image.BICUBIC)
        grain = random.integers(-8, 9, (*SIZE[::-1], 1))
        Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(path)
    return str(folder)
