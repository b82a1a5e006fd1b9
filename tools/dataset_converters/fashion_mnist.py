"""Unpack Fashion-MNIST, all 60,000 training and 10,000 test images, for DemoFashionMNIST(data_root=...).

Run:       python tools/dataset_converters/fashion_mnist.py
Needs:     the Debian package dataset-fashion-mnist, or another folder with the four files: --source DIR
Duration:  two seconds
"""

import argparse
import gzip
import hashlib
import zlib
from pathlib import Path

from prepared_folder import fail, whole_folder

SOURCE = Path('/usr/share/datasets/fashion-mnist')
# The SHA-256 of the unpacked files: packages differ in how they pack them.
FILES = {
    'train-images-idx3-ubyte': 'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888',
    'train-labels-idx1-ubyte': 'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9',
    't10k-images-idx3-ubyte': '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b',
    't10k-labels-idx1-ubyte': '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34',
}


def parse_args():
    parser = argparse.ArgumentParser(description='Unpack the four files of Fashion-MNIST.')
    parser.add_argument('out', type=Path, nargs='?', default=Path('data/fashion-mnist'), help='default: %(default)s')
    parser.add_argument('--source', type=Path, default=SOURCE, metavar='DIR', help='default: %(default)s')
    return parser.parse_args()


def source_files(folder: Path) -> list[Path]:
    """Return the four packed files of a folder. End the script with an error if one is missing."""
    missing = [f'{name}.gz' for name in FILES if not (folder / f'{name}.gz').is_file()]
    if missing:
        fail(
            f'{folder} lacks {", ".join(missing)}. Give a folder with the four original files; the Debian package '
            f'dataset-fashion-mnist has them in {SOURCE}.'
        )
    return [folder / f'{name}.gz' for name in FILES]


def unpacked(path: Path) -> bytes:
    """Read a packed file. End the script with an error if it is damaged."""
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        fail(f'{path} cannot be unpacked: {error}. Copy it again.')


def main():
    args = parse_args()
    paths = source_files(args.source)
    with whole_folder(args.out) as folder:
        for path in paths:
            content = unpacked(path)
            found, expected = hashlib.sha256(content).hexdigest(), FILES[path.stem]
            if found != expected:
                fail(f'{path} is not the original: its content has the SHA-256 {found}, not {expected}. Copy it again.')
            (folder / path.stem).write_bytes(content)
            print(f'{found}  {path.stem}')


if __name__ == '__main__':
    main()
