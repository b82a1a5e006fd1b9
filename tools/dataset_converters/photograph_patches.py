"""Cut scikit-image's photographs into patches, whose label is the photograph that they come from.

Run:       python tools/dataset_converters/photograph_patches.py
Needs:     scikit-image, whose package contains the photographs
Duration:  ten seconds

The photographs are in the public domain, or have no known copyright restrictions; see their docstrings in skimage.data.
The training patches come from the left three quarters of each, and the test patches from the right quarter.
"""

import argparse
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from prepared_folder import compare, fail, whole_folder

PHOTOGRAPHS = (
    'astronaut',
    'brick',
    'camera',
    'chelsea',
    'clock',
    'coffee',
    'coins',
    'grass',
    'gravel',
    'hubble_deep_field',
    'immunohistochemistry',
    'retina',
    'rocket',
)
# Pixels. A larger photograph is reduced to this height and width, so that it does not have most of the patches.
LONGEST = 640
SIDE, STRIDE = 64, 32
TEST_SHARE = 0.25
EXPECTED = '9efa79d901d20b997489ee4b4aa3af3babccce132e23fef5f11286e77ce915d5'


def parse_args():
    parser = argparse.ArgumentParser(description="Cut scikit-image's photographs into patches of 64 x 64 pixels.")
    parser.add_argument('out', type=Path, nargs='?', default=Path('data/photographs'), help='default: %(default)s')
    return parser.parse_args()


def photograph(name: str) -> Image.Image:
    """Return a photograph, RGB or grey, at most ``LONGEST`` pixels high and wide."""
    import skimage.data

    image = Image.fromarray(getattr(skimage.data, name)())
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC)
    return image


def patches(image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the patches of a fixed grid, row by row, as pairs of a name and pixels. A patch of one colour is left out.

    Args:
        image: A part of a photograph, (H, W) or (H, W, 3).
    """
    height, width = image.shape[:2]
    for top in range(0, height - SIDE + 1, STRIDE):
        for left in range(0, width - SIDE + 1, STRIDE):
            patch = image[top : top + SIDE, left : left + SIDE]
            if patch.min() < patch.max():
                yield f'{top:03}_{left:03}.png', patch


def main():
    args = parse_args()
    if not importlib.util.find_spec('skimage'):
        fail('The photographs are in scikit-image, which is not installed. Install it: pip install scikit-image')
    with whole_folder(args.out) as folder:
        for name in PHOTOGRAPHS:
            image = np.asarray(photograph(name))
            border = round((1 - TEST_SHARE) * image.shape[1])
            counts = []
            for part, region in (('train', image[:, :border]), ('test', image[:, border:])):
                (folder / part / name).mkdir(parents=True)
                found = list(patches(region))
                for file, patch in found:
                    Image.fromarray(patch).save(folder / part / name / file)
                counts.append(f'{len(found)} {part}')
            print(f'{name}: {", ".join(counts)}')
    compare(args.out, EXPECTED, 'scikit-image 0.26')


if __name__ == '__main__':
    main()
