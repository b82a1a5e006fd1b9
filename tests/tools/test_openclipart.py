"""The converter of drawings, on small sources: what becomes of an image, and which images go where."""

import hashlib
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import prepared_folder
import pytest
from helpers import runs
from PIL import Image

PARTS = ('all', 'train', 'test')


def draw(path, seed, width=40, height=30):
    """Write a drawing of random blocks, half of them transparent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 4), dtype=np.uint8)
    blocks[..., 3] = np.where(blocks[..., 3] > 127, 255, 0)
    blocks[0, 0], blocks[-1, -1] = (0, 0, 0, 255), (255, 0, 0, 255)
    Image.fromarray(np.kron(blocks, np.ones((10, 10, 1), np.uint8))).save(path)


@pytest.fixture
def source(tmp_path):
    """Two classes of 24 and 30 drawings, and another category; copies, links, a family, and files to leave out."""
    folder = tmp_path / 'png'
    letters = [chr(ord('a') + number) * 3 for number in range(24)]
    for number, name in enumerate(letters):
        draw(folder / f'birds/{name}_01.png', number)
        draw(folder / f'cars/deep/er/{name}{name}.png', 100 + number)
    for number in range(6):
        draw(folder / f'cars/wing_{number}.png', 200 + number)
    draw(folder / 'others/lamp.png', 300)
    shutil.copy(folder / 'birds/aaa_01.png', folder / 'birds/copy.png')
    (folder / 'cars/link.png').symlink_to('../birds/bbb_01.png')
    # Of another name, but nearly the pixels of a bird.
    pixels = np.array(Image.open(folder / 'birds/ccc_01.png'))
    pixels[:3, :3, :3] += 9
    Image.fromarray(pixels).save(folder / 'cars/alike.png')
    Image.new('RGBA', (9, 9), (0, 0, 0, 0)).save(folder / 'birds/white.png')
    (folder / 'birds/broken.png').write_bytes((folder / 'birds/aaa_01.png').read_bytes()[:60])
    return folder


@pytest.fixture
def convert(source, tmp_path, monkeypatch):
    """Run the converter for classes of 20 files; return the folder that it writes."""
    module = runs.tool('dataset_converters/openclipart.py')

    def convert(*argv, out='out', size=32, folder=source):
        monkeypatch.setattr(module, 'FILES_OF_A_CLASS', 20)
        argv = ['openclipart.py', tmp_path / out, '--source', folder, '--size', size, *argv]
        monkeypatch.setattr(sys, 'argv', [*map(str, argv)])
        module.main()
        return tmp_path / out

    convert.module = module
    return convert


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*.png')}


def pixels(paths):
    return Counter(Image.open(path).tobytes() for path in paths)


def test_the_parts_are_balanced_and_share_nothing(convert, capsys):
    out = convert()
    shown = capsys.readouterr().out
    found = {part: names(out / part) for part in PARTS}
    counts = {part: Counter(name.split('/')[0] for name in found[part]) for part in PARTS}
    # A quarter of the smaller class, of 24 birds.
    assert counts['test'] == {'birds': 6, 'cars': 6}
    assert counts['train'] == {'birds': 18, 'cars': 18} and found['train'] <= found['all']
    assert found['all'] - found['train'] and 'others/lamp.png' in found['all'] and not found['all'] & found['test']
    seen = {part: pixels((out / part).rglob('*.png')) for part in PARTS}
    assert all(set(each.values()) == {1} for each in seen.values()) and not seen['all'] & seen['test']
    assert len(seen['all']) + len(seen['test']) == 24 + 24 + 6 + 1 + 1
    # A family that is more than half of a class's test.
    assert 'wing' not in ''.join(found['test']) and len([name for name in found['all'] if 'wing' in name]) == 6
    assert '60 files: 56 different drawings. Left out: 1 files that are all white' in shown
    assert '1 that are broken or larger than 89478485 pixels: birds/broken.png' in shown
    assert 'test: 12 images, 6 birds, 6 cars' in shown


def test_look_alikes_and_names_make_families(convert, source):
    module = convert.module
    drawings = module.read_drawings(source, sorted(names(source)), 32)
    family = dict(zip((drawing.files[0] for drawing in drawings), module.families(drawings, 32)))
    assert family['birds/ccc_01.png'] == family['cars/alike.png']
    assert len({family[f'cars/wing_{number}.png'] for number in range(6)}) == 1
    # A copy and a link bring their names along, and other drawings are alone.
    assert len(set(family.values())) == len(family) - 1 - 5


def test_a_drawing_of_two_classes_is_of_the_smaller_one(convert):
    module = convert.module
    drawings = [module.Drawing(['big/a.png', 'small/b.png', 'none/c.png'], b''), module.Drawing(['none/d.png'], b'')]
    sizes = Counter(big=9, small=8)
    assert module.labelled(drawings, sizes) == (['small', None], ['small/b.png', 'none/d.png'])


@pytest.mark.parametrize('seed', range(5))
def test_a_split_depends_on_names_alone(convert, seed):
    rng = np.random.default_rng(seed)
    files = [f'{number}.png' for number in range(300)]
    labels = [[None, 'a', 'b', 'c'][number] for number in rng.choice(4, 300, p=[0.1, 0.2, 0.3, 0.4])]
    family = (rng.integers(0, 200, 300) * (rng.random(300) < 0.8)).tolist()  # Family 0 has a fifth of all.
    parts = convert.module.split(labels, files, family)
    order = rng.permutation(300)
    shuffled = convert.module.split(*([values[number] for number in order] for values in (labels, files, family)))
    for part in PARTS:
        assert {files[number] for number in parts[part]} == {files[order[number]] for number in shuffled[part]}
    least = min(Counter(filter(None, labels)).values())
    for part in ('train', 'test'):
        counts = Counter(labels[number] for number in parts[part])
        assert counts.keys() == {'a', 'b', 'c'} and len(set(counts.values())) == 1
    sides = [{family[number] for number in parts[part]} for part in PARTS]
    assert not sides[2] & (sides[0] | sides[1]) and 0 in sides[0]
    assert least // 8 <= len(parts['test']) / 3 <= least // 4
    # One of each family comes first.
    few = [number for number in parts['train'] if labels[number] == 'c']
    assert len({family[number] for number in few}) == min(len(few), len(sides[0] & {family[n] for n in few}))


def test_transparent_is_white_and_the_empty_border_is_cropped(convert, tmp_path):
    rng = np.random.default_rng(0)
    drawing = np.zeros((50, 60, 4), np.uint8)
    drawing[5:21, 7:39] = rng.integers(0, 256, (16, 32, 4))
    drawing[5:21, 7:39, 3] |= 128
    Image.fromarray(drawing).save(tmp_path / 'one.png')
    made = np.frombuffer(convert.module.picture(tmp_path / 'one.png', 32), np.uint8).reshape(32, 32, 3)
    colours, alpha = drawing[5:21, 7:39, :3].astype(float), drawing[5:21, 7:39, 3:] / 255
    expected = np.full((32, 32, 3), 255.0)
    expected[8:24] = alpha * colours + (1 - alpha) * 255
    assert np.abs(made - expected).max() <= 1


@pytest.mark.parametrize('mode', ['L', 'LA', 'P', 'RGB', 'RGBA'])
def test_fine_patterns_become_their_mean(convert, tmp_path, mode):
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (128, 64)))
    stripes.convert('RGB').convert(mode).save(tmp_path / 'one.png')
    made = np.frombuffer(convert.module.picture(tmp_path / 'one.png', 32), np.uint8).reshape(32, 32, 3)
    assert np.abs(made[2:-2, 2:-2].astype(int) - 127).max() < 12


def test_the_checksum_is_of_pixels_and_names_and_a_changed_source_is_noticed(convert, source, monkeypatch, capsys):
    out = convert()
    found = prepared_folder.checksum(out)
    assert f'checksum {found}' in capsys.readouterr().out
    lines = []
    for name in sorted(names(out)):
        image = Image.open(out / name)
        content = hashlib.sha256(f'RGB {image.size}'.encode() + np.asarray(image).tobytes()).hexdigest()
        lines.append(f'{content}  {name}\n')
    assert found == hashlib.sha256(''.join(lines).encode()).hexdigest()
    Image.open(out / name).save(out / name, compress_level=1)
    assert prepared_folder.checksum(out) == found
    monkeypatch.setattr(convert.module, 'EXPECTED', {32: found})
    copied = shutil.copytree(source, source.with_name('copied'))
    assert prepared_folder.checksum(convert(out='again', folder=copied)) == found
    draw(source / 'birds/aaa_01.png', 999)
    convert.module.picture.cache_clear()
    with pytest.raises(SystemExit, match='^error: .*other is complete, but its checksum .* the source has changed'):
        convert(out='other')
    assert len(names(source.with_name('other') / 'test')) == 12


def test_bad_input_is_one_clear_error(convert, tmp_path):
    for folder in (tmp_path / 'gone', Path(__file__).parent):
        with pytest.raises(SystemExit, match='^error: .* has 0 PNG files.*package openclipart-png.*--source DIR'):
            convert(folder=folder)
    with pytest.raises(SystemExit, match='^error: --size is .* at least 16, but got 8'):
        convert(size=8)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/mine').write_text('')
    with pytest.raises(SystemExit, match='^error: .*out is there already. Remove it, or name another folder'):
        convert()
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['mine'] and not (tmp_path / 'out.part').exists()


def test_an_interrupted_run_leaves_nothing_and_the_next_begins_again(convert, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(convert.module, 'split', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        (tmp_path / 'out.part/left').mkdir(parents=True)
        convert()
    assert not (tmp_path / 'out').exists()
    assert sorted(path.name for path in convert().iterdir()) == sorted(PARTS)
    assert not (tmp_path / 'out.part').exists()
