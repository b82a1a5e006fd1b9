"""Write the class-balanced subset of Fashion-MNIST that the package embeds.

Run:       python tools/dataset_converters/fashion_mnist_subset.py SOURCE aemim_mm/data/fashion_mnist
Needs:     SOURCE, a folder with the four original ``*-ubyte.gz`` files (on Debian and Ubuntu, the package
           dataset-fashion-mnist puts them in /usr/share/datasets/fashion-mnist)
Duration:  two seconds
"""

import argparse
from pathlib import Path

import numpy as np
from fashion_mnist import source_files, unpacked
from prepared_folder import fail

SPLITS = ('train', 't10k')


def parse_args():
    parser = argparse.ArgumentParser(
        description='Write a class-balanced, shuffled subset of Fashion-MNIST as idx files.'
    )
    parser.add_argument('source', type=Path, help='folder with the original *-ubyte.gz files')
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--train', type=int, default=5000, help='training images, a multiple of 10 (default: 5000)')
    parser.add_argument('--test', type=int, default=2000, help='test images, a multiple of 10 (default: 2000)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the shuffle (default: 0)')
    return parser.parse_args()


def read_idx(path):
    """Read an idx file of unsigned bytes. Source: http://yann.lecun.com/exdb/mnist/, file formats."""
    data = unpacked(path)
    zeros, kind, ndim = data[:2], data[2], data[3]
    if zeros != b'\0\0' or kind != 8:
        fail(f'{path} is no idx file of unsigned bytes: expected it to start with 000008, got {data[:3].hex()}.')
    shape = np.frombuffer(data, '>i4', count=ndim, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def write_idx(path, array):
    """Write unsigned bytes as an idx file."""
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, '>i4').tobytes()
    path.write_bytes(header + array.tobytes())


def balanced_indices(labels, total, seed):
    """Return the first ``total / 10`` indices of each class in a shuffled order, in that order."""
    per_class, rest = divmod(total, 10)
    if rest or per_class > np.bincount(labels, minlength=10).min():
        most = 10 * np.bincount(labels).min()
        fail(f'expected a multiple of 10 up to {most} images, got {total}. Change --train or --test.')
    # NumPy guarantees that the numbers of RandomState never change.
    order = np.random.RandomState(seed).permutation(len(labels))
    rank = np.empty(len(order), int)
    for label in range(10):
        members = labels[order] == label
        rank[members] = np.arange(members.sum())
    return order[rank < per_class]


def main():
    args = parse_args()
    source_files(args.source)
    args.out.mkdir(parents=True, exist_ok=True)
    for split, total in zip(SPLITS, (args.train, args.test)):
        images = read_idx(args.source / f'{split}-images-idx3-ubyte.gz')
        labels = read_idx(args.source / f'{split}-labels-idx1-ubyte.gz')
        keep = balanced_indices(labels, total, args.seed)
        write_idx(args.out / f'{split}-images-idx3-ubyte', images[keep])
        write_idx(args.out / f'{split}-labels-idx1-ubyte', labels[keep])
        print(f'{split}: kept {len(keep)} of {len(labels)} images, {total // 10} of each class')


if __name__ == '__main__':
    main()
