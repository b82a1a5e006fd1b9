"""The converter of Fashion-MNIST on small files, and on the original ones where they are installed."""

import gzip
import hashlib
import shutil
import sys

import numpy as np
import pytest
from helpers import runs
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from aemim_mm.datasets.demo import EMBEDDED


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """Run the converter on a folder; the embedded files stand for the originals."""
    module, source = runs.tool('dataset_converters/fashion_mnist.py'), tmp_path / 'source'
    source.mkdir()
    hashes = {}
    for name in module.FILES:
        content = (runs.REPO / EMBEDDED / name).read_bytes()
        (source / f'{name}.gz').write_bytes(gzip.compress(content))
        hashes[name] = hashlib.sha256(content).hexdigest()

    def convert(files=hashes, folder=source):
        monkeypatch.setattr(module, 'FILES', files)
        monkeypatch.setattr(sys, 'argv', ['fashion_mnist.py', str(tmp_path / 'out'), '--source', str(folder)])
        module.main()

    convert.module, convert.source = module, source
    return convert


def test_the_base_config_reads_all_unpacked_images(convert, tmp_path, capsys):
    convert()
    assert capsys.readouterr().out.count('ubyte\n') == 4
    for name in convert.module.FILES:
        assert (tmp_path / 'out' / name).read_bytes() == (runs.REPO / EMBEDDED / name).read_bytes()
    cfg = Config.fromfile(runs.CONFIGS / '_base_/study_fashion_mnist.py').train_dataloader.dataset
    assert cfg.data_root == 'data/fashion-mnist'
    dataset = DATASETS.build({**cfg, 'type': 'mmpretrain.DemoFashionMNIST', 'data_root': str(tmp_path / 'out')})
    assert len(dataset) == 5000 and np.bincount(dataset.get_gt_labels()).tolist() == [500] * 10


def test_a_missing_damaged_or_changed_file_is_one_clear_error(convert, tmp_path):
    with pytest.raises(SystemExit, match='^error: .*gone lacks train-images-idx3-ubyte.gz, .*dataset-fashion-mnist'):
        convert(folder=tmp_path / 'gone')
    packed = convert.source / 't10k-labels-idx1-ubyte.gz'
    content = packed.read_bytes()
    packed.write_bytes(gzip.compress(gzip.decompress(content)[:-1] + b'\xff'))
    with pytest.raises(SystemExit, match='^error: .*t10k-labels-idx1-ubyte.gz is not the original: .* SHA-256'):
        convert()
    packed.write_bytes(content[:1000])
    with pytest.raises(SystemExit, match='^error: .*t10k-labels-idx1-ubyte.gz cannot be unpacked: .* Copy it again'):
        convert()
    assert [path.name for path in tmp_path.iterdir()] == ['source']


def test_the_original_files_have_the_expected_hashes(convert, tmp_path):
    module = convert.module
    if not module.SOURCE.is_dir():
        pytest.skip('needs the Debian package dataset-fashion-mnist')
    convert(files=runs.tool('dataset_converters/fashion_mnist.py').FILES, folder=module.SOURCE)
    labels = np.frombuffer((tmp_path / 'out/train-labels-idx1-ubyte').read_bytes(), np.uint8, offset=8)
    assert np.bincount(labels).tolist() == [6000] * 10
    shutil.rmtree(tmp_path / 'out')
