"""A batch goes to the device in few copies, and its values reach the loss unchanged."""

import pytest
import torch
from helpers import hosts, runs, tiny
from helpers.copies import Copies
from mmpretrain.models import SelfSupDataPreprocessor, SimMIM, TwoNormDataPreprocessor
from mmpretrain.structures import DataSample

from aemim_mm import AdvDataPreprocessor
from aemim_mm.datasets import BatchDataPreprocessor, BatchTwoNormDataPreprocessor
from aemim_mm.models import AdversarialMIM

BATCH = 8


class Undeclared(AdversarialMIM, SimMIM):
    """A third party's algorithm, which does not say what its loss reads."""

    prediction_layer = 'neck.decoder.0'


def batch():
    """Eight images as a data loader gives them, with masks, labels, boxes in varying numbers, and text."""
    samples = tiny.mask_samples(BATCH)
    for number, sample in enumerate(samples):
        sample.set_gt_label(number)
        sample.set_field(torch.full((number, 4), 1.0), 'boxes')
        sample.set_field(f'image {number}', 'caption')
        sample.set_metainfo(dict(img_path=f'{number}.jpg'))
    return dict(inputs=tiny.pixels(BATCH), data_samples=samples)


def copies_of(preprocessor, data):
    preprocessor.to('meta')
    with Copies() as copies:
        moved = preprocessor(data, True)
    assert moved['inputs'].device.type == 'meta'
    return copies.count, moved['data_samples']


def test_the_stock_preprocessor_copies_each_sample():
    """So the counter counts."""
    count, _ = copies_of(SelfSupDataPreprocessor(**tiny.NORMALIZE), batch())
    assert count == 1 + 3 * BATCH


@pytest.mark.parametrize(
    ('config', 'copies', 'on_device'),
    [(tiny.aemim(), 1, set()), (tiny.aesimmim(), 2, {'mask'}), (tiny.aesimmim_vit(), 2, {'mask'})],
    ids=['MAE', 'Swin', 'ViT'],
)
def test_what_the_loss_reads_is_copied_once(config, copies, on_device):
    count, samples = copies_of(tiny.build(config).data_preprocessor, batch())
    assert count == copies
    for sample in samples:
        assert {name for name in ('mask', 'gt_label', 'boxes') if sample.get(name).device.type == 'meta'} == on_device


def test_an_algorithm_that_declares_nothing_gets_all_fields():
    """Masks and labels are stacked; boxes differ in shape, and are copied one by one."""
    config = tiny.aesimmim()
    config['type'] = Undeclared
    count, samples = copies_of(tiny.build(config).data_preprocessor, batch())
    assert count == 1 + 2 + BATCH
    assert {sample.get(name).device.type for sample in samples for name in ('mask', 'gt_label', 'boxes')} == {'meta'}
    assert [sample.caption for sample in samples] == [f'image {number}' for number in range(BATCH)]


@pytest.mark.parametrize('fields', [None, (), ('mask',), ('boxes', 'gt_label'), ('absent',)])
def test_values_equal_the_stock_preprocessors(fields):
    stock, ours = SelfSupDataPreprocessor(**tiny.NORMALIZE), BatchDataPreprocessor(fields, **tiny.NORMALIZE)
    data, expected = batch(), stock(batch(), True)
    before = [dict(sample.items()) for sample in data['data_samples']]
    got = ours(data, True)
    assert torch.equal(got['inputs'], expected['inputs'])
    for mine, theirs in zip(got['data_samples'], expected['data_samples']):
        assert type(mine) is DataSample and mine.metainfo == theirs.metainfo
        assert set(mine.keys()) == set(theirs.keys())
        assert mine.caption == theirs.caption
        for name in ('mask', 'gt_label', 'boxes'):
            assert torch.equal(mine.get(name), theirs.get(name)) and mine.get(name).dtype == theirs.get(name).dtype
    # What the loader gave is unchanged.
    for sample, fields_before in zip(data['data_samples'], before):
        assert all(sample.get(name) is value for name, value in fields_before.items())


def test_two_views_equal_the_stock_preprocessors():
    norms = dict(**tiny.NORMALIZE, **hosts.DALLE)
    data = [dict(inputs=hosts.crops(32, BATCH, second_size=16), data_samples=batch()['data_samples']) for _ in range(2)]
    expected = TwoNormDataPreprocessor(**norms)(data[0], True)
    got = BatchTwoNormDataPreprocessor(sample_fields=('mask',), **norms)(data[1], True)
    assert [view.shape[-1] for view in got['inputs']] == [32, 16]
    assert all(map(torch.equal, got['inputs'], expected['inputs']))
    for mine, theirs in zip(got['data_samples'], expected['data_samples']):
        assert torch.equal(mine.mask, theirs.mask)


def test_samples_without_a_field_keep_their_neighbours_values():
    data = batch()
    for number in (0, 5):
        del data['data_samples'][number].mask
    masks = [sample.get('mask') for sample in data['data_samples']]
    got = BatchDataPreprocessor(('mask',), **tiny.NORMALIZE)(data, True)['data_samples']
    assert [sample.get('mask') is None for sample in got] == [mask is None for mask in masks]
    assert all(torch.equal(sample.mask, mask) for sample, mask in zip(got, masks) if mask is not None)


@pytest.mark.parametrize(('ours', 'stock'), [(tiny.aesimmim, tiny.simmim), (tiny.aemim, tiny.mae)])
def test_the_loss_equals_that_of_the_stock_model_and_preprocessor(ours, stock):
    losses, stock = [], tiny.build(stock())
    for model in (stock, tiny.matched(ours(), stock)):
        torch.manual_seed(3)
        losses.append(model(**model.data_preprocessor(batch(), True), mode='loss'))
    # AEMIM's own encoder embeds visible patches only, which rounds otherwise on some processors.
    torch.testing.assert_close(losses[1]['loss_clean'], losses[0]['loss'], atol=1e-6, rtol=1e-6)


def test_a_field_of_the_config_wins():
    model = tiny.build(tiny.aemim(data_preprocessor=dict(sample_fields=('gt_label',))))
    assert model.data_preprocessor.sample_fields == ('gt_label',)
    assert tiny.build(tiny.aemim()).data_preprocessor.sample_fields == ()


def test_joined_views_are_one_batch():
    views = [tiny.pixels(BATCH, seed=seed) for seed in (1, 2)]
    data = dict(inputs=views, data_samples=tiny.mask_samples(BATCH))
    expected = [AdvDataPreprocessor(**tiny.NORMALIZE).normalize(view) for view in views]
    got = AdvDataPreprocessor(join_views=True, sample_fields=('mask',), **tiny.NORMALIZE)(data, True)
    assert torch.equal(got['inputs'], torch.cat(expected)) and len(got['data_samples']) == 2 * BATCH
    for first, second, sample in zip(got['data_samples'], got['data_samples'][BATCH:], data['data_samples']):
        assert torch.equal(first.mask, sample.mask) and torch.equal(second.mask, sample.mask)
    # By default, views stay a list, as algorithms with two views need them.
    assert isinstance(BatchDataPreprocessor(**tiny.NORMALIZE)(data, True)['inputs'], list)


def test_each_repeat_of_an_image_has_its_own_mask_and_attack():
    model = tiny.build(tiny.aemim(data_preprocessor=dict(join_views=True)))
    data = model.data_preprocessor(dict(inputs=[tiny.pixels(BATCH)] * 2, data_samples=None), True)
    step = model.two_passes(**data)
    masks, deltas = (
        value.unflatten(0, (2, BATCH)) for value in (step.clean.call.output[1], step.attack.x_adv - data['inputs'])
    )
    for number in range(BATCH):
        assert not torch.equal(masks[0, number], masks[1, number])
        assert (deltas[0, number] - deltas[1, number]).abs().mean() > 0.3 * deltas.abs().mean()


REPEATED = """
_base_ = {base!r}
pipeline = [
    dict(
        type='MultiView',
        num_views=[3],
        transforms=[[dict(type='RandomResizedCrop', scale=28), dict(type='RandomFlip', prob=0.5)]],
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=pipeline))
model = dict(data_preprocessor=dict(join_views=True))
"""


def test_repeated_augmentation_trains_by_config(tmp_path, monkeypatch):
    config, sizes = tmp_path / 'repeated.py', set()
    config.write_text(REPEATED.format(base=str(runs.AEMIM)))
    perturb = AdvDataPreprocessor.perturb

    def noted(self, inputs, *args, **kwargs):
        sizes.add(len(inputs))
        return perturb(self, inputs, *args, **kwargs)

    monkeypatch.setattr(AdvDataPreprocessor, 'perturb', noted)
    runs.train(config, tmp_path / 'work')
    assert sizes == {48}
    assert all(row['loss_clean'] > 0 and row['attack_gain'] > 1 for row in runs.scalars(tmp_path / 'work'))
