"""Files are whole or absent. Other tools read the checksums. Damaged checkpoints are skipped."""

import errno
import os
import shutil
import subprocess

import pytest
import torch
from mmengine.fileio import get_file_backend

from aemim_mm.checkpoints import files
from aemim_mm.checkpoints.files import damage, latest_intact, remove_parts, write_whole
from aemim_mm.errors import UserError


def checkpoints(folder, numbers, checksum=True):
    """Write small checkpoints, one second apart, and name the last one in ``last_checkpoint``."""
    for number in numbers:
        path = folder / f'epoch_{number}.pth'
        torch.save(dict(state_dict=dict(weight=torch.full((500,), number)), meta=dict()), path)
        if checksum:
            write_whole(str(path), path.read_bytes(), checksum=True)
        os.utime(path, (number, number))
    (folder / 'last_checkpoint').write_text(str(path))
    return folder


def test_sha256sum_finds_it_right(tmp_path):
    write_whole(str(tmp_path / 'a b.pth'), b'content', checksum=True)
    done = subprocess.run(
        ['sha256sum', '-c', 'a b.pth.sha256'], cwd=tmp_path, capture_output=True, text=True, timeout=10
    )
    assert done.stdout == 'a b.pth: OK\n'
    assert sorted(os.listdir(tmp_path)) == ['a b.pth', 'a b.pth.sha256']


@pytest.mark.parametrize('failing', ['write', 'fsync', 'replace'])
def test_what_was_there_stays_if_a_disk_fails(tmp_path, monkeypatch, failing):
    path = tmp_path / 'epoch_1.pth'
    write_whole(str(path), b'before', checksum=True)

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == 'write':
        monkeypatch.setattr(files, 'open', fail, raising=False)
    else:
        monkeypatch.setattr(os, failing, fail)
    message = f'{path} could not be saved: No space left on device. It needs 1.0 MB, and .* MB are free'
    with pytest.raises(UserError, match=message):
        write_whole(str(path), bytes(1000000), checksum=True)
    monkeypatch.undo()
    assert path.read_bytes() == b'before' and not list(tmp_path.glob('*.part'))


def test_a_process_killed_while_writing_leaves_a_part_that_the_next_one_removes(tmp_path):
    for name in ('epoch_2.pth.part', 'epoch_2.pth.sha256.part', 'last_checkpoint.part', 'mine.part'):
        (tmp_path / name).touch()
    remove_parts(str(tmp_path))
    assert os.listdir(tmp_path) == ['mine.part']


def test_a_file_and_its_checksum_are_removed_together(tmp_path):
    path = str(tmp_path / 'epoch_1.pth')
    backend = get_file_backend(backend_args=dict(backend='whole_files'))
    backend.put(b'x', path)
    backend.remove(path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('checksum', [True, False])
@pytest.mark.parametrize('harm', ['truncated', 'empty', 'gone', 'garbage'])
def test_damage_is_found_and_the_one_before_is_taken(tmp_path, harm, checksum):
    folder = checkpoints(tmp_path, (1, 2, 10), checksum)
    path = folder / 'epoch_10.pth'
    content = path.read_bytes()
    assert latest_intact(str(folder)) == str(path)
    path.write_bytes({'truncated': content[:-50], 'garbage': b'x' * 3000}.get(harm, b''))
    if harm == 'gone':
        path.unlink()
    assert latest_intact(str(folder)) == str(folder / 'epoch_2.pth')
    torch.save({}, folder / 'best_acc_epoch_9.pth')  # This checkpoint is newer but holds no optimizer.
    assert latest_intact(str(folder)) == str(folder / 'epoch_2.pth')


def test_one_changed_bit_is_found(tmp_path):
    path = checkpoints(tmp_path, (1,)) / 'epoch_1.pth'
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert damage(str(path)) == f'is truncated or corrupt: it does not match {path}.sha256'
    with pytest.raises(UserError, match=f'No checkpoint of {tmp_path} is intact. The checkpoint .* is truncated'):
        latest_intact(str(tmp_path))


def test_a_work_dir_without_checkpoints_has_none(tmp_path):
    assert latest_intact(str(tmp_path)) is None


def test_a_copied_or_moved_folder_uses_its_own_checkpoints(tmp_path):
    (tmp_path / 'old').mkdir()
    shutil.copytree(checkpoints(tmp_path / 'old', (1, 2)), tmp_path / 'new')
    assert latest_intact(str(tmp_path / 'new')) == str(tmp_path / 'new/epoch_2.pth')
    shutil.rmtree(tmp_path / 'old')
    assert latest_intact(str(tmp_path / 'new')) == str(tmp_path / 'new/epoch_2.pth')


def test_a_pointer_to_another_folder_is_not_followed(tmp_path):
    for name in ('mine', 'other'):
        (tmp_path / name).mkdir()
    checkpoints(tmp_path / 'other', (7,))
    mine = checkpoints(tmp_path / 'mine', (1, 2))
    (mine / 'last_checkpoint').write_text(str(tmp_path / 'other/epoch_7.pth'))
    assert latest_intact(str(mine)) == str(mine / 'epoch_2.pth')
    assert latest_intact(str(mine), str(tmp_path / 'other')) == str(tmp_path / 'other/epoch_7.pth')
    for path in mine.glob('epoch*'):
        path.unlink()
    with pytest.raises(UserError, match=f'which is not in {mine}, and no .* --resume {tmp_path}/other/epoch_7.pth'):
        latest_intact(str(mine))


@pytest.mark.parametrize('pointer', [None, b'', b'\xff\xfe', b'x' * 5000])
def test_a_lost_pointer_gives_the_highest_number(tmp_path, pointer):
    """Times say nothing: a clock may be set back."""
    folder = checkpoints(tmp_path, (2, 9, 10))
    os.utime(folder / 'epoch_10.pth', (1, 1))
    (folder / 'last_checkpoint').unlink()
    if pointer is not None:
        (folder / 'last_checkpoint').write_bytes(pointer)
    assert latest_intact(str(folder)) == str(folder / 'epoch_10.pth')


def test_epochs_and_iterations_are_ordered_by_what_they_hold(tmp_path):
    for name, iteration in (('epoch_1', 40), ('iter_60', 60), ('epoch_2', 80)):
        torch.save(dict(state_dict={}, meta=dict(iter=iteration)), tmp_path / f'{name}.pth')
    assert latest_intact(str(tmp_path)) == str(tmp_path / 'epoch_2.pth')
    (tmp_path / 'epoch_2.pth').unlink()
    assert latest_intact(str(tmp_path)) == str(tmp_path / 'iter_60.pth')


def test_other_checkpoints_are_read_only_if_the_latest_is_damaged(tmp_path, monkeypatch):
    folder = checkpoints(tmp_path, (1, 2))
    (folder / 'iter_60.pth').touch()
    with monkeypatch.context() as patch:
        patch.setattr(files, 'read_checkpoint', None)
        assert latest_intact(str(folder)) == str(folder / 'epoch_2.pth')
    (folder / 'epoch_2.pth').write_bytes(b'')
    assert latest_intact(str(folder)) == str(folder / 'epoch_1.pth')


def test_a_later_checkpoint_of_another_run_is_not_taken(tmp_path):
    """A run that was started anew in the folder has come to epoch 2."""
    folder = checkpoints(tmp_path, (9, 1, 2))
    (folder / 'epoch_2.pth').unlink()
    assert latest_intact(str(folder)) == str(folder / 'epoch_1.pth')


def test_a_checksum_that_is_no_text_is_damage(tmp_path):
    path = checkpoints(tmp_path, (1,)) / 'epoch_1.pth'
    (tmp_path / 'epoch_1.pth.sha256').write_bytes(b'\xff\xfe\x00')
    assert 'does not match' in damage(str(path))


def test_an_old_checksum_never_judges_a_new_file(tmp_path, monkeypatch):
    """A process is killed between the two renames."""
    path = checkpoints(tmp_path, (1,)) / 'epoch_1.pth'
    content, replace = path.read_bytes(), os.replace

    def killed(source, target):
        if target.endswith('.sha256'):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
        write_whole(str(path), content + b'\n', checksum=True)
    assert not (tmp_path / 'epoch_1.pth.sha256').exists()
