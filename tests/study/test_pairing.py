"""Methods of a study with the same seed have the same initial weights, data order, augmentations and masks."""

import pytest
from helpers import runs

from aemim_mm.study.reading import read_study

PRESETS = read_study(runs.CONFIGS / 'studies/presets.py')
# At a learning rate of zero, the losses of all iterations depend on initial weights, images and masks alone.
FROZEN = ('optim_wrapper.optimizer.lr=0', 'train_cfg.max_epochs=2', 'log_processor.window_size=1')


def clean_losses(method, work_dir, seed):
    """Return the clean loss of each iteration."""
    training = PRESETS.methods[method]
    options = [*training.options, *FROZEN, f'randomness.seed={seed}']
    runs.train(training.config, work_dir, options=options, epochs=None)
    return [row.get('loss_clean', row['loss']) for row in runs.scalars(work_dir)]


@pytest.mark.parametrize('methods', [('mae', 'exact'), ('mae-balanced', 'balanced'), ('mae-fast', 'fast')])
def test_equal_seeds_give_equal_weights_images_and_masks(methods, tmp_path):
    baseline, *others = (clean_losses(method, tmp_path / method, seed=3) for method in methods)
    assert len(baseline) == 8 and len(set(baseline)) == 8
    for losses in others:
        assert losses == pytest.approx(baseline, rel=1e-6)
    assert clean_losses(methods[0], tmp_path / 'other', seed=4) != pytest.approx(baseline, rel=1e-3)
