"""Labels come from the class folders or from a list; the files are those that pre-training reads."""

import os

import pytest
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.logging import MMLogger
from PIL import Image

from aemim_mm.datasets import LabelledFolder, LoadWholeImage, UnreadableImageError
from aemim_mm.datasets.classes import check_labels
from aemim_mm.errors import UserError


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 6), (90, 10, 200)).save(root / name)


def labels(root, **kwargs):
    dataset = LabelledFolder(str(root), **kwargs)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {os.path.relpath(info['img_path'], root): info['gt_label'] for info in infos}


@pytest.fixture
def warnings(monkeypatch):
    """What is logged, one text for each call."""
    said = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'log', lambda level, text, *args: said.append(text))
    return said


def test_the_files_are_those_of_pretraining(tmp_path, warnings):
    kinds = ('a.jpg', 'deep/er/b.webp', 'c.TIFF', 'd.ppm')
    fill(tmp_path, *(f'cat/{name}' for name in kinds), 'dog/e.png')
    fill(tmp_path, '.ipynb_checkpoints/a.jpg', 'cat/.hidden.png', 'loose.png')
    (tmp_path / 'cat/notes.txt').write_text('')
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere').rename(tmp_path.with_name('elsewhere'))
    fill(tmp_path.with_name('elsewhere'), 'f.png')
    (tmp_path / 'emu').symlink_to(tmp_path.with_name('elsewhere'), target_is_directory=True)
    (tmp_path / 'fox').mkdir()
    assert labels(tmp_path) == {**{f'cat/{name}': 0 for name in kinds}, 'dog/e.png': 1, 'emu/f.png': 2}
    assert warnings == [
        f'{tmp_path} has 1 classes without an image: fox.',
        f'{tmp_path} has 1 images outside the class folders, which are not read: loose.png.',
        f'Not read in the class folders of {tmp_path}: 1 other files (most: 1 .txt).',
    ]


def test_names_that_differ_in_case_only_are_two_classes_and_a_warning(tmp_path, warnings):
    fill(tmp_path, 'Cat/a.png', 'cat/b.png')
    assert labels(tmp_path) == {'Cat/a.png': 0, 'cat/b.png': 1}
    assert 'differ in upper and lower case only: Cat, cat.' in warnings[0]


def test_given_classes_decide_on_the_labels(tmp_path):
    fill(tmp_path, 'cat/a.png', 'dog/b.png')
    assert labels(tmp_path, classes=['emu', 'dog', 'cat']) == {'cat/a.png': 2, 'dog/b.png': 1}
    # Names for people, in the order of the folders.
    assert labels(tmp_path, metainfo=dict(classes=('Katze', 'Hund'))) == {'cat/a.png': 0, 'dog/b.png': 1}
    with pytest.raises(UserError, match=r"class folders 'dog', which are not among the 2 classes"):
        labels(tmp_path, classes=['cat', 'emu'])


def test_a_list_gives_the_labels(tmp_path):
    fill(tmp_path, 'train/a b.png', 'train/c.png')
    (tmp_path / 'list.txt').write_text('a b.png 1\n\nc.png 0\n')
    assert labels(tmp_path, data_prefix='train', ann_file='list.txt') == {'train/a b.png': 1, 'train/c.png': 0}
    for line, words in (
        ('c.png', 'Expected: a path, a space and a label, a number'),
        ('c.png cat', "Line 2 of .*list.txt is 'c.png cat'"),
        ('c.png -1', 'a number from 0 on'),
        ('c.png 2', 'a label from 0 to 1'),
    ):
        (tmp_path / 'list.txt').write_text(f'a b.png 1\n{line}\n')
        with pytest.raises(UserError, match=words):
            labels(tmp_path, ann_file='list.txt', classes=['cat', 'dog'] if line.endswith('2') else None)


def test_unsuitable_folders(tmp_path):
    fill(tmp_path, 'images/a.png')
    for root, words in (
        ('', 'got no folder'),
        (tmp_path / 'gone', f'There is no image folder {tmp_path}/gone'),
        (tmp_path / 'images/a.png', 'is a file, not a folder'),
        (tmp_path / 'images', f'{tmp_path}/images has no class folder. Expected: DIR/<class>/any/depth'),
    ):
        with pytest.raises(UserError, match=words):
            LabelledFolder(str(root))
    (tmp_path / 'images/a.png').unlink()
    (tmp_path / 'images/cat').mkdir()
    with pytest.raises(UserError, match='There is no image in the class folders of .* saw 0 other files'):
        LabelledFolder(str(tmp_path / 'images'))
    with pytest.raises(UserError, match='There is no list .*gone.txt'):
        LabelledFolder(str(tmp_path), ann_file='gone.txt')


def test_an_empty_file_is_replaced_in_training_and_named_in_a_test(tmp_path):
    fill(tmp_path, 'cat/a.png', 'dog/b.png')
    (tmp_path / 'dog/b.png').write_bytes(b'')
    training, test = (LabelledFolder(str(tmp_path), pipeline=[LoadWholeImage()], test_mode=mode) for mode in (0, 1))
    assert training[1]['gt_label'] == 0 and training.unreadable() == [str(tmp_path / 'dog/b.png')]
    with pytest.raises(UnreadableImageError, match=f'Cannot read the image {tmp_path}/dog/b.png'):
        test[1]


class Model:
    """A classifier of two classes, as far as labels matter."""

    class head:
        num_classes = 2


def test_labels_that_the_model_has_no_output_for(tmp_path):
    fill(tmp_path, *(f'{name}/a.png' for name in ('cat', 'dog', 'emu')))
    (tmp_path / 'list.txt').write_text('cat/a.png 0\nemu/a.png 2\n')
    folders, listed = LabelledFolder(str(tmp_path)), LabelledFolder(str(tmp_path), ann_file='list.txt')
    with pytest.raises(UserError, match=f'{tmp_path} has 3 classes, but model.head.num_classes is 2'):
        check_labels(folders, Model)
    for dataset in (listed, ConcatDataset([listed, listed]), RepeatDataset(listed, 2)):
        with pytest.raises(UserError, match=rf'{tmp_path}/emu/a.png has the label 2 \(LabelledFolder\), .* 0 to 1'):
            check_labels(dataset, Model)
    listed.get_subset_([0])
    check_labels(listed, Model)
    check_labels(folders, object())
