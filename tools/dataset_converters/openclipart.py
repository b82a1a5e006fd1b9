"""Prepare the drawings of Debian's openclipart-png as small square images: for pre-training, and in eight classes.

Run:       python tools/dataset_converters/openclipart.py
Needs:     the Debian package openclipart-png, or another folder with its category folders: --source DIR
Duration:  a minute

The drawings are in the public domain. OUT/all is for pre-training; OUT/train and OUT/test have class folders.
"""

import argparse
import functools
import hashlib
import re
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from prepared_folder import compare, fail, whole_folder
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SOURCE = Path('/usr/share/openclipart/png')
# By the size.
EXPECTED = {64: '2e7ec10e75d456372f69d345b39bc25ef9fc9a90e3a061f91e5f36d6d1df5d59'}
# Top-level categories with so many files are classes.
FILES_OF_A_CLASS = 300
TEST_SHARE = 0.25
# As in aemim_mm/datasets/loading.py.
MAX_PIXELS = 89_478_485
# Correlation of two drawings, at 16 x 16 pixels, from which on they are of one family.
LOOK_ALIKE = 0.95


class Drawing(NamedTuple):
    """A drawing, which may have several files.

    Args:
        files: Its files, relative to the source, sorted.
        pixels: RGB, square.
    """

    files: list[str]
    pixels: bytes


def parse_args():
    parser = argparse.ArgumentParser(description='Prepare the drawings of openclipart-png as small square images.')
    parser.add_argument('out', type=Path, nargs='?', default=Path('data/openclipart'), help='default: %(default)s')
    parser.add_argument('--source', type=Path, default=SOURCE, metavar='DIR', help='default: %(default)s')
    parser.add_argument(
        '--size',
        type=int,
        default=64,
        metavar='PIXELS',
        help='side of the images; a square crop of 60 %% of 64 x 64 is not enlarged to 48 x 48 (default: 64)',
    )
    return parser.parse_args()


@functools.cache
def picture(path: Path, size: int) -> bytes:
    """Read a drawing, put it on white, crop the empty border, scale and pad it to a square.

    Returns:
        The pixels, RGB; none for a drawing that is all white.

    Raises:
        Exception: Any exception of Pillow for a broken file; a ValueError for one that is too large.
    """
    with warnings.catch_warnings():
        # Pillow warns of defects that do not prevent decoding, and of sizes that are checked here.
        warnings.simplefilter('ignore')
        with Image.open(path, formats=['PNG']) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f'{image.width} x {image.height} pixels')
            drawing = image.convert('RGBA')
    paper = Image.new('RGBA', drawing.size, 'white')
    paper.alpha_composite(drawing)
    paper = paper.convert('RGB')
    box = ImageOps.invert(paper).getbbox()
    if not box:
        return b''
    drawing, largest = paper.crop(box), max(box[2] - box[0], box[3] - box[1])
    width, height = (max(1, round(side * size / largest)) for side in drawing.size)
    square = Image.new('RGB', (size, size), 'white')
    square.paste(resized(drawing, width, height), ((size - width) // 2, (size - height) // 2))
    return square.tobytes()


def resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize an image in two steps, since versions of Pillow differ in which of them comes first.

    Pillow's filters widen with the reduction, so that nothing is aliased.
    """
    narrow = image.resize((width, image.height), Image.Resampling.BICUBIC)
    return narrow.resize((width, height), Image.Resampling.BICUBIC)


def read_drawings(source: Path, files: list[str], size: int) -> list[Drawing]:
    """Read all drawings, each once: files of the same pixels are one drawing. Say what was left out."""
    found, broken = defaultdict(list), []
    for file in files:
        try:
            # Many files are links to others.
            found[picture((source / file).resolve(), size)].append(file)
        # For a broken file, Pillow's decoders raise OSError, SyntaxError, struct.error, zlib.error and others.
        except Exception:
            broken.append(file)
    blank = found.pop(b'', [])
    print(f'{len(files)} files: {len(found)} different drawings. Left out: {len(blank)} files that are all white;')
    print(f'{len(broken)} that are broken or larger than {MAX_PIXELS} pixels{":" if broken else ""}', *broken)
    return sorted(Drawing(same, pixels) for pixels, same in found.items())


def look_alikes(drawings: list[Drawing], size: int) -> np.ndarray:
    """Find the pairs of drawings whose small versions correlate; return their numbers, (pairs, 2)."""
    images = (Image.frombytes('RGB', (size, size), drawing.pixels) for drawing in drawings)
    small = np.stack([np.asarray(resized(image, 16, 16), float).ravel() for image in images])
    small -= small.mean(axis=1, keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-9)
    pairs = []
    for start in range(0, len(small), 500):
        rows, columns = np.nonzero(small[start : start + 500] @ small.T > LOOK_ALIKE)
        pairs.append(np.stack([rows + start, columns], axis=1))
    return np.concatenate(pairs)


def families(drawings: list[Drawing], size: int) -> list[int]:
    """Number the families of drawings: names that begin with the same word, or nearly the same pixels.

    So versions of a drawing are one family: their names differ in digits, in the author or in a colour.
    """
    words = {}
    for number, drawing in enumerate(drawings):
        for file in drawing.files:
            first = tuple(re.findall('[a-z]+', Path(file).stem.lower())[:1])
            words.setdefault(first, []).append(number)
    same_word = [(first, other) for first, *others in words.values() for other in others]
    rows, columns = np.concatenate([look_alikes(drawings, size), np.array(same_word, int).reshape(-1, 2)]).T
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(drawings),) * 2)
    return connected_components(graph, directed=False)[1].tolist()


def labelled(drawings: list[Drawing], sizes: Counter) -> tuple[list[str | None], list[str]]:
    """Label the drawings: of the categories of its files, the class with the fewest files.

    Args:
        drawings: The drawings.
        sizes: The classes and their numbers of files.

    Returns:
        The label of each drawing, or None; and a file of each, of the category that labels it.
    """
    labels, files = [], []
    for drawing in drawings:
        classes = {category(file) for file in drawing.files} & sizes.keys()
        labels.append(min(classes, key=lambda name: (sizes[name], name), default=None))
        files.append(next(file for file in drawing.files if labels[-1] in (None, category(file))))
    return labels, files


def category(file: str) -> str:
    """Return the top-level category of a file."""
    return file.split('/')[0]


def split(labels: list[str | None], files: list[str], family: list[int]) -> dict[str, list[int]]:
    """Choose the drawings of ``all``, ``train`` and ``test``.

    Families go to the test in the order of their hashes, as long as no class gets more than its share. ``all`` has the
    other families. In train and test, all classes have equally many drawings: one of each family, then a second one
    of each, and so on.

    Args:
        labels: The label of each drawing, or None.
        files: The name of each drawing, which is hashed.
        family: The number of each drawing's family.

    Returns:
        The part to the numbers of its drawings.
    """
    hashes = [hashlib.sha256(file.encode()).hexdigest() for file in files]
    members = defaultdict(list)
    for number in sorted(range(len(files)), key=hashes.__getitem__):
        members[family[number]].append(number)
    quota = int(TEST_SHARE * min(Counter(filter(None, labels)).values()))
    taken, test, others = Counter(), [], []
    for group in members.values():
        counts = Counter(filter(None, (labels[number] for number in group)))
        fits = counts and all(count <= quota / 2 and taken[label] + count <= quota for label, count in counts.items())
        taken += counts if fits else Counter()
        (test if fits else others).extend((rank, hashes[number], number) for rank, number in enumerate(group))
    test, others = ([number for *_, number in sorted(part)] for part in (test, others))
    return dict(all=others, train=balanced(others, labels), test=balanced(test, labels))


def balanced(numbers: list[int], labels: list[str | None]) -> list[int]:
    """Return the first drawings of each class, of all classes equally many."""
    of_class = defaultdict(list)
    for number in numbers:
        of_class[labels[number]].append(number)
    of_class.pop(None, None)
    count = min(map(len, of_class.values()), default=0)
    return [number for chosen in of_class.values() for number in chosen[:count]]


def main():
    args = parse_args()
    files = sorted(path.relative_to(args.source).as_posix() for path in args.source.rglob('*.png'))
    sizes = Counter(map(category, files))
    sizes = Counter({name: count for name, count in sizes.items() if count >= FILES_OF_A_CLASS})
    if not sizes:
        fail(
            f'{args.source} has {len(files)} PNG files, and no category with {FILES_OF_A_CLASS}. Install the Debian '
            'package openclipart-png, or name the folder with the category folders: --source DIR.'
        )
    if args.size < 16:
        fail(f'--size is a number of pixels, at least 16, but got {args.size}.')
    with whole_folder(args.out) as folder:
        drawings = read_drawings(args.source, files, args.size)
        labels, names = labelled(drawings, sizes)
        parts = split(labels, names, families(drawings, args.size))
        for part, numbers in parts.items():
            counts = sorted(Counter(labels[number] or 'other' for number in numbers).items())
            print(f'{part}: {len(numbers)} images,', ', '.join(f'{count} {label}' for label, count in counts))
            for number in numbers:
                path = folder / part / names[number]
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.frombytes('RGB', (args.size, args.size), drawings[number].pixels).save(path)
    compare(args.out, EXPECTED.get(args.size), "Debian's openclipart-png 1:0.18+dfsg-19")


if __name__ == '__main__':
    main()
