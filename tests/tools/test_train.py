"""tools/train.py on a few of the embedded images, from the command line's arguments to the checkpoint."""

import math
import shutil
import signal

import pytest
import torch
from helpers import faults, runs
from mmengine.optim import OptimWrapper

from aemim_mm.datasets.demo import EMBEDDED
from aemim_mm.models import AEMIM

LOGGED = ('loss_clean', 'loss_adv', 'attack_start', 'attack_end', 'attack_gain', 'attack_zero_grad')


@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    """A work directory after two epochs of four iterations."""
    work_dir = tmp_path_factory.mktemp('two_epochs')
    config = work_dir / 'with_panels.py'
    config.write_text(
        f'_base_ = {str(runs.AEMIM)!r}\ncustom_hooks = [dict(type="PanelHook", interval=3, num_images=2)]\n'
    )
    runs.train(config, work_dir, epochs=2)
    return work_dir


def test_every_iteration_logs_both_losses_and_the_attack(two_epochs):
    rows = runs.scalars(two_epochs)
    assert [(row['step'], row['epoch']) for row in rows] == [(step, 1 + (step > 4)) for step in range(1, 9)]
    assert all(math.isfinite(row[name]) for row in rows for name in LOGGED)


def test_logged_numbers_fit_together(two_epochs):
    # Scalars are means over the last ten iterations, so the first row alone holds raw values.
    row = runs.scalars(two_epochs)[0]
    assert row['loss'] == pytest.approx(row['loss_clean'] + row['loss_adv'], rel=1e-5)
    assert row['attack_gain'] == pytest.approx(row['attack_end'] / row['attack_start'], rel=1e-4)
    assert row['attack_gain'] > 1.5
    # Patches that the encoder does not see have no gradient: 12 of 16.
    assert row['attack_zero_grad'] == pytest.approx(0.75, abs=0.01)


def test_the_losses_fall(two_epochs):
    rows = runs.scalars(two_epochs)
    assert rows[-1]['loss_clean'] < rows[0]['loss_clean'] and rows[-1]['loss_adv'] < rows[0]['loss_adv']


def test_a_checkpoint_is_left_each_epoch_with_the_config_beside_it(two_epochs):
    assert (two_epochs / 'last_checkpoint').read_text() == str(two_epochs / 'epoch_2.pth')
    assert (two_epochs / 'epoch_1.pth').is_file() and (two_epochs / 'with_panels.py').is_file()
    assert any(name.endswith('_adv') for name in runs.weights(two_epochs / 'epoch_2.pth'))


def test_a_panel_is_drawn_at_the_last_epoch_if_the_interval_does_not_come_to_it(two_epochs):
    assert [path.name for path in two_epochs.glob('*/vis_data/vis_image/*')] == ['panels_2.png']


def test_resume_continues_an_interrupted_run(two_epochs, tmp_path):
    # The schedule is that of two epochs in both runs, as when a run of two is interrupted after one.
    shutil.copy(two_epochs / 'epoch_1.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    runs.train(runs.AEMIM, tmp_path, '--resume', epochs=2)
    assert [(row['step'], row['epoch']) for row in runs.scalars(tmp_path)] == [(5, 2), (6, 2), (7, 2), (8, 2)]
    checkpoint = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    assert checkpoint['meta']['iter'] == 8 and checkpoint['meta']['epoch'] == 2
    whole = [row['lr'] for row in runs.scalars(two_epochs)[4:]]
    assert [row['lr'] for row in runs.scalars(tmp_path)] == pytest.approx(whole)
    # Not to the bit: the order of the images and the masks are drawn anew. Nearer to the whole run than to its half.
    half, resumed, expected = (
        torch.cat([value.flatten() for value in runs.weights(path).values()])
        for path in (two_epochs / 'epoch_1.pth', tmp_path / 'epoch_2.pth', two_epochs / 'epoch_2.pth')
    )
    assert (resumed - expected).norm() < (half - expected).norm()


def test_resume_from_a_named_checkpoint_leaves_it_as_it_was(two_epochs, tmp_path):
    content = (two_epochs / 'epoch_1.pth').read_bytes()
    runs.train(runs.AEMIM, tmp_path, '--resume', two_epochs / 'epoch_1.pth', epochs=2)
    assert runs.scalars(tmp_path)[0]['step'] == 5 and (tmp_path / 'epoch_2.pth').is_file()
    assert (two_epochs / 'epoch_1.pth').read_bytes() == content


def test_resume_without_a_checkpoint_starts_at_the_beginning(tmp_path):
    runs.train(runs.AEMIM, tmp_path, '--resume')
    assert [row['step'] for row in runs.scalars(tmp_path)] == [1, 2, 3, 4]


def test_same_seed_same_weights(two_epochs, tmp_path):
    runs.train(runs.AEMIM, tmp_path, epochs=2)
    expected = runs.weights(two_epochs / 'epoch_2.pth')
    for name, value in runs.weights(tmp_path / 'epoch_2.pth').items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4, msg=name)


def test_work_dir_defaults_to_the_name_of_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ['train_cfg.max_epochs=1', 'experiment_name=default_work_dir', *runs.SHRUNK]
    runs.run('train.py', runs.AEMIM, '--cfg-options', *options)
    assert (tmp_path / 'work_dirs' / runs.AEMIM.stem / 'epoch_1.pth').is_file()


@pytest.fixture
def seen(monkeypatch):
    """The types that a linear layer computes in, in all passes, and the optimizers that took a step."""
    types, wrappers = set(), []
    loss, update = AEMIM.loss, OptimWrapper.update_params

    def spy_loss(model, *args, **kwargs):
        layer = model.backbone.layers[0].attn.qkv
        handle = layer.register_forward_hook(lambda _module, _args, output: types.add(output.dtype))
        with handle:
            return loss(model, *args, **kwargs)

    def spy_update(wrapper, *args, **kwargs):
        group = wrapper.optimizer.param_groups[0]
        wrappers.append((type(wrapper).__name__, group.get('initial_lr', group['lr'])))
        return update(wrapper, *args, **kwargs)

    monkeypatch.setattr(AEMIM, 'loss', spy_loss)
    monkeypatch.setattr(OptimWrapper, 'update_params', spy_update)
    return types, wrappers


def test_amp_runs_in_bfloat16_and_keeps_float32_weights(seen, tmp_path):
    runs.train(runs.AEMIM, tmp_path, '--amp')
    types, wrappers = seen
    assert types == {torch.bfloat16} and {name for name, _ in wrappers} == {'Bfloat16OptimWrapper'}
    assert {value.dtype for value in runs.weights(tmp_path / 'epoch_1.pth').values()} == {torch.float32}
    assert all(
        math.isfinite(row[name]) and row['attack_gain'] > 1.5 for row in runs.scalars(tmp_path) for name in LOGGED
    )


@pytest.mark.parametrize(
    ('flags', 'accumulate', 'lr'),
    [([], 1, 1e-3), (['--auto-scale-lr'], 1, 1e-3 * 16 / 125), (['--auto-scale-lr'], 2, 1e-3 * 32 / 125)],
)
def test_auto_scale_lr_scales_by_the_real_batch_over_the_base(seen, tmp_path, flags, accumulate, lr):
    options = ['optim_wrapper.accumulative_counts=2', 'param_scheduler=None'] if accumulate == 2 else []
    runs.train(runs.AEMIM, tmp_path, *flags, options=options)
    types, wrappers = seen
    assert types == {torch.float32}
    assert wrappers == [('OptimWrapper', pytest.approx(lr))] * 4


def test_data_root_is_read_in_place_of_the_configs(two_epochs, tmp_path):
    dark = tmp_path / 'dark'
    shutil.copytree(EMBEDDED, dark)
    images = (dark / 'train-images-idx3-ubyte').read_bytes()
    (dark / 'train-images-idx3-ubyte').write_bytes(images[:16] + bytes(len(images) - 16))
    runs.train(runs.AEMIM, tmp_path / 'work', '--data-root', dark)
    # The normalised patches of black images are zeros, which the network learns at once.
    black, real = runs.scalars(tmp_path / 'work'), runs.scalars(two_epochs)
    assert black[3]['loss_clean'] < 0.8 * real[3]['loss_clean']
    assert str(dark) in (tmp_path / 'work' / runs.AEMIM.name).read_text()


def test_a_killed_training_goes_on_with_resume(tmp_path):
    """Killed after its first checkpoint."""
    first = faults.Training(tmp_path, '--resume').until('Epoch(train) [2][1/4]')
    first.process.kill()
    assert first.wait() == -signal.SIGKILL
    assert (tmp_path / 'epoch_1.pth').is_file() and not (tmp_path / 'epoch_3.pth').exists()
    output = faults.train(tmp_path, '--resume').output()
    assert 'Epoch(train) [1]' not in output and 'Epoch(train) [3][4/4]' in output
    assert torch.load(tmp_path / 'epoch_3.pth', weights_only=False)['meta']['iter'] == 12
