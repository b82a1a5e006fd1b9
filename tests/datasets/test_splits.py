"""Labelled folders are split class by class, in the same way in each call."""

import numpy as np
import pytest
from PIL import Image

from aemim_mm.datasets.files import spread
from aemim_mm.datasets.splits import split_folder
from aemim_mm.errors import UserError


def fill(folder, **classes):
    for name, count in classes.items():
        (folder / name / 'deep').mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / name / 'deep' / f'{number}.png')
    return folder


def test_the_parts(tmp_path):
    split = split_folder(fill(tmp_path, cat=8, dog=40), test_share=0.25, labels=10)
    assert split.classes == ['cat', 'dog'] and split.unreadable == []
    counts = [[image.label for image in part].count(0) for part in split[1:4]]
    assert counts == [6, 6, 2] and [len(part) for part in split[1:4]] == [36, 16, 12]
    assert set(split.labelled) <= set(split.unlabelled) and not set(split.test) & set(split.unlabelled)
    assert len({*split.test, *split.unlabelled}) == 48
    assert all((tmp_path / image.path).parts[-3] == split.classes[image.label] for image in split.test)
    assert split == split_folder(tmp_path, test_share=0.25, labels=10)
    # An image more moves no other to another part, but for the one at the border.
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / 'dog/new.png')
    assert len(set(split.test) ^ set(split_folder(tmp_path, test_share=0.25).test)) <= 2


def test_each_class_has_images_in_both_parts(tmp_path):
    fill(tmp_path, cat=2, dog=3)
    for share in (0.01, 0.99):
        split = split_folder(tmp_path, share)
        assert {image.label for image in split.test} == {image.label for image in split.labelled} == {0, 1}


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    (tmp_path / 'dog/broken.png').write_bytes(b'no image')
    split = split_folder(tmp_path)
    assert split.unreadable == ['dog/broken.png'] and len(split.test) + len(split.unlabelled) == 6


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (dict(cat=3), 'Expected two classes or more, in a folder each, but .* has cat.'),
        (dict(train=3, val=3), 'has train, val. Name the folder that has the folders of the classes'),
        (dict(cat=3, dog=1), 'two images or more of each class that can be read, but dog in .* has fewer'),
    ],
)
def test_too_few(tmp_path, classes, message):
    with pytest.raises(UserError, match=message):
        split_folder(fill(tmp_path, **classes))


def test_names_are_spread_evenly():
    names = [str(number) for number in range(10)]
    assert spread(names, 3) == ['0', '3', '6'] and spread(names, 99) == names and spread(names, 0) == []
