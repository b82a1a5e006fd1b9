"""Broken files are skipped, counted and not tried again. Good ones are all seen. Random states stay in step."""

from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from torch.utils.data import DataLoader

from aemim_mm.datasets import UnlabelledFolder, UnreadableImageError
from aemim_mm.errors import UserError

NAMES = [f'{i:02d}.jpg' for i in range(12)]
BAD = {2: 'truncated', 5: 'random', 6: 'empty', 11: 'truncated'}
LOAD = [{'type': 'LoadWholeImage'}]


def indices(batch):
    return [item['sample_idx'] for item in batch]


@pytest.fixture
def folder(tmp_path, write, break_file):
    paths = write(tmp_path, NAMES)
    for i, how in BAD.items():
        break_file(paths[i], how)
    return tmp_path


def check_epoch(batches):
    """Assert that batches keep their size, good images keep their index, and good images replace bad ones."""
    assert [len(batch) for batch in batches] == [4, 4, 4]
    seen = np.concatenate(batches)
    for place, index in enumerate(seen):
        assert index not in BAD
        assert index == place or place in BAD
    assert set(Counter(seen)) == set(range(12)) - set(BAD)


@pytest.mark.parametrize('start, persistent', [(None, False), ('fork', False), ('forkserver', True)])
def test_two_epochs(folder, write, start, persistent):
    dataset = UnlabelledFolder(str(folder), pipeline=LOAD)
    loader = DataLoader(
        dataset,
        batch_size=4,
        collate_fn=indices,
        num_workers=2 if start else 0,
        multiprocessing_context=start,
        persistent_workers=persistent,
    )
    assert dataset.bad.tolist() == [0] * 12
    check_epoch(list(loader))
    assert dataset.bad.nonzero().flatten().tolist() == list(BAD)
    assert dataset.unreadable() == [str(folder / NAMES[i]) for i in BAD]
    write(folder, NAMES)  # Now all files are whole. If they were tried again, they would be seen.
    check_epoch(list(loader))


def test_known_bad_images_do_not_change_what_is_drawn(folder):
    """A resumed run, in which no image is marked yet, has to repeat the earlier run."""

    def epoch(dataset):
        np.random.seed(3)
        return [dataset[i]['sample_idx'] for i in range(12)], np.random.randint(1 << 30)

    dataset = UnlabelledFolder(str(folder), pipeline=LOAD)
    first = epoch(dataset)
    assert epoch(dataset) == first
    assert epoch(UnlabelledFolder(str(folder), pipeline=LOAD)) == first


def test_images_known_beforehand_are_left_out(folder):
    dataset = UnlabelledFolder(str(folder), pipeline=LOAD)
    dataset.bad[0] = 1
    assert 0 not in [dataset[i]['sample_idx'] for i in range(12)]


@pytest.mark.parametrize('workers', [0, 1])
def test_folder_of_broken_files_is_an_error_and_each_is_read_once(tmp_path, write, break_file, workers):
    for i, path in enumerate(write(tmp_path, NAMES)):
        break_file(path, ['truncated', 'random', 'empty'][i % 3])
    reads = torch.zeros(12, dtype=torch.uint8).share_memory_()

    def count(results):
        reads[results['sample_idx']] += 1
        return results

    dataset = UnlabelledFolder(str(tmp_path), pipeline=[count, *LOAD])
    with pytest.raises(UserError, match=f'12 of the 12 images in {tmp_path} .*--data-root DIR'):
        list(DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=indices))
    assert reads.tolist() == [1] * 12


def test_one_good_image_among_many_is_enough(tmp_path, write):
    write(tmp_path, ['050.jpg'])
    for i in [*range(50), *range(51, 100)]:
        (tmp_path / f'{i:03d}.jpg').write_bytes(b'')
    dataset = UnlabelledFolder(str(tmp_path), pipeline=LOAD)
    np.random.seed(0)
    assert [dataset[i]['sample_idx'] for i in range(5)] == [50] * 5


def test_nothing_is_replaced_in_test_mode(folder):
    dataset = UnlabelledFolder(str(folder), pipeline=LOAD, test_mode=True)
    assert dataset[3]['sample_idx'] == 3
    with pytest.raises(UnreadableImageError, match='02.jpg'):
        dataset[2]


def test_faults_of_the_pipeline_are_not_taken_for_bad_images(folder):

    def fault(results):
        raise ZeroDivisionError

    dataset = UnlabelledFolder(str(folder), pipeline=[*LOAD, fault])
    with pytest.raises(ZeroDivisionError):
        dataset[0]
    assert not dataset.bad.any()


def test_subsets_have_marks_of_their_own(folder):
    dataset = UnlabelledFolder(str(folder), pipeline=LOAD)
    subset = dataset.get_subset([5, 0, 2])
    assert subset[0]['img_path'] == str(folder / NAMES[0])
    subset[2]
    assert subset.bad.tolist() == [1, 0, 1] and subset.bad.is_shared() and not dataset.bad.any()
    dataset[2]
    dataset.get_subset_([2, 3])
    assert dataset.bad.tolist() == [0, 0]
    lazy = UnlabelledFolder(str(folder), pipeline=LOAD, indices=3, lazy_init=True)
    assert len(lazy) == 3 and torch.equal(lazy.bad, torch.zeros(3, dtype=torch.uint8))


def test_a_subset_has_no_parts_of_a_data_set_that_is_gone(folder, monkeypatch):
    dataset = UnlabelledFolder(str(folder), pipeline=LOAD)
    memo = BaseDataset._copy_without_annotation.__defaults__[0]
    if memo is not None:  # mmengine 0.10.7: the address of this pipeline, as an object left it that is gone.
        monkeypatch.setitem(memo, id(dataset.pipeline), 'stale')
    assert dataset.get_subset([0])[0]['img_path'] == str(folder / NAMES[0])
