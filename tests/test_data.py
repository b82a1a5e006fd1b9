"""The embedded part of Fashion-MNIST: its content, its origin, and mmpretrain's reader."""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import runs
from mmpretrain.datasets import FashionMNIST

import aemim_mm

ROOT = Path(aemim_mm.__file__).parent / 'data/fashion_mnist'
REPO = Path(__file__).resolve().parents[1]
SOURCE = Path('/usr/share/datasets/fashion-mnist')  # Debian's package dataset-fashion-mnist
SIZES = {'train': 5000, 't10k': 2000}

needs_source = pytest.mark.skipif(not SOURCE.is_dir(), reason='needs the Debian package dataset-fashion-mnist')


def images(split):
    return np.frombuffer((ROOT / f'{split}-images-idx3-ubyte').read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)


def labels(split):
    return np.frombuffer((ROOT / f'{split}-labels-idx1-ubyte').read_bytes(), np.uint8, offset=8)


@pytest.mark.parametrize('split', SIZES)
def test_classes_are_balanced_and_shuffled(split):
    assert np.bincount(labels(split)).tolist() == [SIZES[split] // 10] * 10
    assert len(images(split)) == SIZES[split]
    # Shuffled, so the first tenth holds all classes.
    assert set(labels(split)[: SIZES[split] // 10]) == set(range(10))


def test_no_image_is_in_both_splits():
    train, test = ({image.tobytes() for image in images(split)} for split in SIZES)
    assert not train & test


@pytest.mark.parametrize('split', SIZES)
@needs_source
def test_every_image_is_one_of_the_source(split):
    path = SOURCE / f'{split}-images-idx3-ubyte.gz'
    source = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    path = SOURCE / f'{split}-labels-idx1-ubyte.gz'
    classes = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)
    known = {(image.tobytes(), label) for image, label in zip(source, classes)}
    assert all((image.tobytes(), label) in known for image, label in zip(images(split), labels(split)))


@needs_source
def test_the_script_makes_the_same_bytes(tmp_path):
    script = REPO / 'tools/dataset_converters/fashion_mnist_subset.py'
    subprocess.run([sys.executable, script, SOURCE, tmp_path], check=True)
    made = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert made == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in ROOT.glob('*ubyte')}


def test_the_script_names_missing_files(tmp_path):
    with pytest.raises(SystemExit, match='^error: .* lacks train-images-idx3-ubyte.gz, .*Give a folder with'):
        runs.run('dataset_converters/fashion_mnist_subset.py', tmp_path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('split', 'file'), [('train', 'train'), ('test', 't10k')])
def test_mmpretrain_reads_it(split, file):
    # mmpretrain chooses the file by test_mode, and only warns if split disagrees.
    dataset = FashionMNIST(data_root=str(ROOT), split=split, test_mode=split == 'test', download=False)
    assert len(dataset) == SIZES[file]
    read = [dataset[index] for index in range(50)]
    assert np.array_equal(np.stack([item['img'].squeeze() for item in read]), images(file)[:50])
    assert [int(item['gt_label']) for item in read] == labels(file)[:50].tolist()


def test_every_file_is_below_4_mib_and_the_licence_is_there():
    assert all(path.stat().st_size < 4 * 2**20 for path in ROOT.iterdir())
    assert 'Copyright © 2017 Zalando SE' in (ROOT / 'LICENSE').read_text(encoding='utf-8')
