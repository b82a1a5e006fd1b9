"""Pixels, colours, masks and amplification of panels equal pictures made by hand."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmpretrain.structures import DataSample

from aemim_mm import Domain
from aemim_mm.engine.hooks.panels import PanelHook
from aemim_mm.errors import UserError
from aemim_mm.visualization.panels import FOOTNOTE, draw_panels, panel_columns, panel_rows
from aemim_mm.visualization.reconstruction import reconstruct


class Photos(torch.utils.data.Dataset):
    """Images as a pipeline returns them: uint8, BGR. All three random generators decide whether one is flipped."""

    def __init__(self, pixels, masks=None):
        self.pixels, self.masks = pixels.round().byte(), masks

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        picture, sample = self.pixels[index], DataSample()
        if self.masks is not None:
            sample.set_field(self.masks[index].mask, 'mask')
        if random.random() + np.random.rand() + torch.rand(()).item() > 1.5:
            picture = picture.flip(-1)
        return dict(inputs=picture, data_samples=sample)


def build(tiny, to_rgb=True, make='aemim', **changes):
    model = tiny.build(getattr(tiny, make)(data_preprocessor=dict(to_rgb=to_rgb), **changes))
    tiny.part_domains(model)
    return model


def fake_runner(model, dataset, epoch=0, max_epochs=10):
    shown = []
    visualizer = SimpleNamespace(add_image=lambda name, picture, step: shown.append((name, picture, step)))
    loader = SimpleNamespace(dataset=dataset, collate_fn=default_collate)
    return SimpleNamespace(
        model=model,
        train_dataloader=loader,
        visualizer=visualizer,
        epoch=epoch,
        max_epochs=max_epochs,
        rank=0,
        shown=shown,
    )


@pytest.mark.parametrize('to_rgb', [True, False])
def test_pictures_of_a_row(tiny, to_rgb):
    model = build(tiny, to_rgb)
    bgr = tiny.pixels(2).round()
    inputs = model.data_preprocessor(dict(inputs=bgr, data_samples=None))['inputs']
    torch.manual_seed(3)
    rows = panel_rows(model, inputs)
    torch.manual_seed(3)
    pictures = reconstruct(model, inputs)
    for index, row in enumerate(rows):
        original, masked, pred, adv, delta, adv_masked, adv_pred = (picture.astype(int) for picture in row)
        # Panels are RGB, whatever order the model wants.
        np.testing.assert_array_equal(original, bgr[index].permute(1, 2, 0).numpy()[..., ::-1])
        hidden = (masked == 127).all(-1) & (original != 127).any(-1)
        assert hidden.mean() == pytest.approx(0.75, abs=0.02)
        for whole, seen, predicted in ((original, masked, pred), (adv, adv_masked, adv_pred)):
            np.testing.assert_array_equal(seen, np.where(hidden[..., None], 127, whole))
            np.testing.assert_array_equal(predicted[~hidden], whole[~hidden])
            assert np.abs(predicted[hidden] - whole[hidden]).mean() > 3
        assert 1 <= np.abs(adv - original).max() <= 2
        # With eps 2 the factor is 63: a difference of 2 becomes 126 above or below grey.
        raw = (pictures[Domain.ADV].image - pictures[Domain.CLEAN].image)[index].permute(1, 2, 0).numpy()
        expected = np.round(np.clip(127.5 + 63 * (raw if to_rgb else raw[..., ::-1]), 0, 255))
        np.testing.assert_allclose(delta, expected, atol=1)


def test_prediction_is_unnormalised_by_the_target_patch(tiny):
    """A prediction of 0 shows the mean of the hidden patch; a prediction of 1 adds one standard deviation."""
    model = build(tiny)
    bgr = tiny.pixels(1).round()
    inputs = model.data_preprocessor(dict(inputs=bgr, data_samples=None))['inputs']
    patches = inputs[0].numpy().reshape(3, 4, 8, 4, 8)
    mean, deviation = patches.mean((0, 2, 4)), np.sqrt(patches.var((0, 2, 4), ddof=1) + 1e-6)
    for value in (0, 1):
        (
            torch.nn.init.zeros_(model.neck.decoder_pred.weight),
            torch.nn.init.constant_(model.neck.decoder_pred.bias, value),
        )
        _, masked, pred = panel_rows(model, inputs)[0][:3]
        level = (
            np.kron(mean + value * deviation, np.ones((8, 8)))[..., None] * tiny.NORMALIZE['std']
            + tiny.NORMALIZE['mean']
        )
        hidden = (masked == 127).all(-1)
        np.testing.assert_allclose(pred[hidden], np.clip(level, 0, 255)[hidden], atol=0.51)


@pytest.mark.parametrize(('make', 'grid'), [('aesimmim', (8, 8)), ('aesimmim_vit', (4, 4))])
def test_simmim(tiny, make, grid):
    model, samples = build(tiny, make=make), tiny.mask_samples(2, grid=grid)
    inputs = tiny.images(model, 2)
    for row, sample in zip(panel_rows(model, inputs, samples), samples):
        hidden = np.kron(sample.mask.numpy(), np.ones((32 // grid[0], 32 // grid[1])))[..., None]
        np.testing.assert_array_equal(row[1], np.where(hidden, 127, row[0]))
        np.testing.assert_array_equal(row[5], np.where(hidden, 127, row[3]))


def test_grey_images_stay_grey(tiny):
    model = tiny.build(tiny.aemim_of_size(32, 8, channels=1))
    rows = panel_rows(model, tiny.images(model, 2, channels=1))
    assert {picture.shape for row in rows for picture in row} == {(32, 32)}


@pytest.mark.parametrize(('eps', 'factor'), [(0, 254), (0.5, 254), (2, 63), (8, 15), (200, 1)])
def test_headings_name_the_factor_and_the_normalisation(tiny, eps, factor):
    model = tiny.build(tiny.aemim(data_preprocessor=dict(eps=eps), head=dict(norm_pix=eps == 2)))
    star = '*' if eps == 2 else ''
    assert panel_columns(model) == [
        'original', 'masked', f'reconstruction{star}', 'adversarial', f'perturbation x{factor}', 'masked',
        f'reconstruction{star}',
    ]  # fmt: skip
    assert FOOTNOTE.startswith('* ') and 'mean and deviation' in FOOTNOTE


def test_drawing_puts_every_pixel_in_its_place():
    generator = np.random.default_rng(0)
    rows = [[generator.integers(0, 255, shape, dtype=np.uint8) for shape in ((4, 5, 3), (4, 5))] for _ in range(3)]
    canvas = draw_panels(rows, ['a', 'b'], size=15)
    # Pictures are enlarged 3 times; gaps are 6 pixels, the heading 24.
    assert canvas.shape == (24 + 3 * 18, 2 * 21, 3) and canvas.dtype == np.uint8
    for number, row in enumerate(rows):
        for column, picture in enumerate(row):
            top, left = 24 + number * 18, column * 21
            expected = np.kron(picture if picture.ndim == 3 else picture[..., None], np.ones((3, 3, 1)))
            got = canvas[top : top + 12, left : left + 15]
            np.testing.assert_array_equal(got, np.broadcast_to(expected, got.shape))
            assert (canvas[top + 12 : top + 18, left : left + 21] == 255).all()
            assert (canvas[:24, left : left + 15] < 255).any(), 'a heading'
    with_footnote = draw_panels(rows, ['a', 'b'], 'note', size=15)
    np.testing.assert_array_equal(with_footnote[: len(canvas)], canvas)
    assert len(with_footnote) == len(canvas) + 22 and (with_footnote[len(canvas) :] < 128).any()


class TestHook:
    def states(self):
        return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]

    @pytest.mark.parametrize('make', ['aemim', 'aesimmim'])
    def test_leaves_no_trace_and_repeats_itself(self, tiny, make):
        model = build(tiny, make=make)
        dataset = Photos(tiny.pixels(4), tiny.mask_samples(4) if make == 'aesimmim' else None)
        before, states = tiny.snapshot(model), self.states()
        runner, hook = fake_runner(model, dataset), PanelHook(num_images=2)
        hook.write(runner)
        assert self.states() == states
        tiny.assert_same_snapshot(tiny.snapshot(model), before)
        torch.rand(3), np.random.rand(3), random.random()
        hook.write(runner)
        # A resumed run starts with a new hook, and shows the same images and masks.
        PanelHook(num_images=2).write(runner)
        (name, first, step), second, third = runner.shown
        assert name == 'panels' and step == 1
        np.testing.assert_array_equal(second[1], first)
        np.testing.assert_array_equal(third[1], first)
        other = PanelHook(num_images=2, seed=1)
        other.write(runner)
        assert (runner.shown[-1][1] != first).any()

    def test_draws_at_the_interval_and_at_the_last_epoch(self, tiny):
        model, drawn = build(tiny), []
        for epoch in range(10):
            runner = fake_runner(model, Photos(tiny.pixels(1)), epoch)
            PanelHook(interval=4, num_images=9).after_train_epoch(runner)
            drawn += [step for _, _, step in runner.shown]
        assert drawn == [4, 8, 10]

    def test_draws_on_one_rank_only(self, tiny):
        runner = fake_runner(build(tiny), Photos(tiny.pixels(1)))
        runner.rank = 1
        PanelHook().after_train_epoch(runner)
        assert not runner.shown


def test_a_model_without_two_domains_is_refused_before_training(tiny):
    runner = SimpleNamespace(model=tiny.build(tiny.mae()))
    with pytest.raises(UserError, match='PanelHook shows both domains of AEMIM, but got a MAE. Leave it out'):
        PanelHook().before_train(runner)
