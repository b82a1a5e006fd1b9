"""Test sets under distribution shift: small folders, a classifier with fixed answers, mmengine's evaluator."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import processes
from mmengine.dataset import DefaultSampler, default_collate, pseudo_collate
from mmengine.evaluator import Evaluator
from mmpretrain.registry import DATASETS, METRICS
from mmpretrain.structures import DataSample
from PIL import Image
from torch.utils.data import DataLoader

import aemim_mm  # noqa: F401  registers, in a spawned process too
from aemim_mm.datasets.shift_classes import imagenet_wnids
from aemim_mm.errors import UserError

WNIDS = imagenet_wnids()
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
A_CLASSES, R_CLASSES = range(5, 1000, 5), range(1, 1000, 4)


def tree(root, images, folders=()):
    """Write small images at these paths in ``root``, and empty folders."""
    for folder in folders:
        os.makedirs(root / folder, exist_ok=True)
    for path in images:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(root / path)


def classify(sample, scores):
    """A classifier with given logits: ``{file: {label: logit}}``; other logits are 0."""
    logits = torch.zeros(1000)
    for label, value in scores[os.path.basename(sample.img_path)].items():
        logits[label] = value
    return DataSample(metainfo=sample.metainfo).set_gt_label(sample.gt_label).set_pred_score(logits)


def evaluate(config, metric, scores, batch_size=2):
    """Evaluate a data set with a loader and mmengine's Evaluator, as its TestLoop does."""
    dataset = DATASETS.build(dict(pipeline=PIPELINE, **config))
    metric = METRICS.build(metric)
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dataset.metainfo
    for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=default_collate):
        evaluator.process([classify(sample, scores) for sample in batch['data_samples']], batch)
    return evaluator.evaluate(len(dataset)), metric, dataset


def test_wnids_are_those_of_imagenet():
    assert len(WNIDS) == len(set(WNIDS)) == 1000 and list(WNIDS) == sorted(WNIDS)
    # The first class, the tabby cat and the last class, with mmpretrain's names.
    names = DATASETS.get('ImageNet').METAINFO['classes']
    assert (WNIDS[0], WNIDS[281], WNIDS[999]) == ('n01440764', 'n02123045', 'n15075141')
    assert names[0].startswith('tench') and names[281].startswith('tabby') and names[999].startswith('toilet tissue')
    timm = find_spec('timm')
    if timm is None:
        pytest.skip('needs timm')
    assert list(WNIDS) == (Path(timm.origin).parent / 'data/_info/imagenet_synsets.txt').read_text().split()


@pytest.mark.parametrize('kind, classes', [('ImageNetA', A_CLASSES), ('ImageNetR', range(0, 800, 4))])
def test_only_the_classes_of_the_subset_compete(kind, classes, tmp_path):
    """Three predictions: right among the 200 classes only, right among all, wrong among the 200."""
    classes = list(classes)[:199] + [999]
    wnids = [WNIDS[label] for label in classes]
    a, b, outside = classes[3], classes[8], next(label for label in range(1000) if label not in classes)
    paths = [f'{WNIDS[a]}/subset.jpg', f'{WNIDS[a]}/whole.jpg', f'{WNIDS[b]}/wrong.jpg']
    tree(tmp_path, [*paths, f'{WNIDS[a]}/.ipynb_checkpoints/subset.jpg'], wnids)
    (tmp_path / 'README.txt').write_text('about')
    scores = {'subset.jpg': {outside: 9, a: 5, b: 4}, 'whole.jpg': {a: 9}, 'wrong.jpg': {outside: 9, a: 5, b: 4}}
    config = dict(type=kind, data_root=str(tmp_path))
    got, metric, dataset = evaluate(config, dict(type='SubsetAccuracy'), scores)
    assert dataset.metainfo['class_subset'] == classes
    assert [dataset.get_data_info(i)['gt_label'] for i in range(3)] == [a, a, b]
    assert got == {'accuracy/top1': pytest.approx(200 / 3), 'accuracy/count': 3}
    assert metric.correct.tolist() == [True, True, False]
    got, metric, _ = evaluate(config, dict(type='CorrectMetric'), scores)
    assert got['accuracy/top1'] == pytest.approx(100 / 3) and metric.correct.tolist() == [False, True, False]


def test_a_subset_of_the_metric_itself(tmp_path):
    """For any data set, only the classes 7 and 3 compete, in any order."""
    tree(tmp_path, [f'{WNIDS[7]}/x.JPEG', f'{WNIDS[3]}/y.JPEG'], WNIDS)
    scores = {'x.JPEG': {0: 9, 3: 1, 7: 2}, 'y.JPEG': {0: 9, 3: 1, 7: 2}}
    config = dict(type='ImageNetSketch', data_root=str(tmp_path))
    got, metric, _ = evaluate(config, dict(type='SubsetAccuracy', classes=[7, 3]), scores)
    assert got['accuracy/top1'] == 50 and metric.correct.tolist() == [False, True]  # Class 3 precedes class 7.
    with pytest.raises(UserError, match=r'y.JPEG has the labels \[3\], none of which is among the 1 classes'):
        evaluate(config, dict(type='SubsetAccuracy', classes=[7]), scores)
    with pytest.raises(UserError, match='no class_subset in its metainfo'):
        evaluate(config, dict(type='SubsetAccuracy'), scores)
    with pytest.raises(UserError, match='1000 classes, but class 1000 was asked for'):
        evaluate(config, dict(type='SubsetAccuracy', classes=[3, 7, 1000]), scores)
    with pytest.raises(UserError, match='different labels'):
        METRICS.build(dict(type='SubsetAccuracy', classes=[3, 3]))


@pytest.mark.parametrize(
    'config, prefix',
    [
        (dict(type='ImageNetSketch'), ''),
        (dict(type='StylizedImageNet'), 'val/'),
        (dict(type='ImageNetC', corruption='fog', severity=3), 'fog/3/'),
        (dict(type='ImageNetC', corruption='fog', severity=3), 'weather/fog/3/'),
    ],
)
def test_thousand_folders(config, prefix, tmp_path):
    tree(tmp_path, [f'{prefix}{WNIDS[0]}/a.JPEG', f'{prefix}{WNIDS[999]}/b.JPEG'], [prefix + wnid for wnid in WNIDS])
    scores = {'a.JPEG': {0: 1}, 'b.JPEG': {0: 1}}
    got, metric, dataset = evaluate(dict(data_root=str(tmp_path), **config), dict(type='CorrectMetric'), scores)
    assert got == {'accuracy/top1': 50, 'accuracy/count': 2} and metric.correct.tolist() == [True, False]
    assert dataset.get_gt_labels().tolist() == [0, 999] and 'class_subset' not in dataset.metainfo
    assert dataset.test_mode
    os.rmdir(tmp_path / prefix / WNIDS[5])
    with pytest.raises(
        UserError, match=r'has 999 class folders, not 1000.*Expected in the data_root.*num_folders=None'
    ):
        evaluate(dict(data_root=str(tmp_path), **config), dict(type='CorrectMetric'), scores)
    part = dict(data_root=str(tmp_path), num_folders=None, **config)
    assert evaluate(part, dict(type='CorrectMetric'), scores)[0]['accuracy/top1'] == 50


def test_imagenet_c_is_read_at_its_severity(tmp_path):
    for severity in (1, 2):
        tree(tmp_path, [f'snow/{severity}/{WNIDS[severity]}/{severity}.JPEG'])
    config = dict(type='ImageNetC', data_root=str(tmp_path), corruption='snow', severity=2, num_folders=None)
    dataset = DATASETS.build(config)
    assert [os.path.basename(dataset.get_data_info(i)['img_path']) for i in range(len(dataset))] == ['2.JPEG']
    with pytest.raises(UserError, match="Unknown corruption 'speckle_noise'"):
        DATASETS.build({**config, 'corruption': 'speckle_noise'})
    with pytest.raises(UserError, match='severity is an integer from 1 to 5, but got 6'):
        DATASETS.build({**config, 'severity': 6})
    with pytest.raises(UserError, match='no folder .*fog/1. Expected .*<corruption>/<severity>/<wnid>'):
        DATASETS.build({**config, 'corruption': 'fog', 'severity': 1})


def test_folders_of_v2_are_numbers(tmp_path):
    """In sorted order, folder 10 would be third."""
    tree(tmp_path, ['2/two.jpeg', '10/ten.jpeg', '999/last.jpeg'], map(str, range(1000)))
    scores = {'two.jpeg': {2: 1}, 'ten.jpeg': {10: 1}, 'last.jpeg': {998: 1}}
    config = dict(type='ImageNetV2', data_root=str(tmp_path))
    got, _, dataset = evaluate(config, dict(type='CorrectMetric'), scores)
    labels = {os.path.basename(item['img_path']): item['gt_label'] for item in map(dataset.get_data_info, range(3))}
    assert labels == {'two.jpeg': 2, 'ten.jpeg': 10, 'last.jpeg': 999}
    assert got['accuracy/top1'] == pytest.approx(200 / 3)
    os.rename(tmp_path / '7', tmp_path / '007')
    with pytest.raises(UserError, match="folder '007', which is no number from 0 to 999"):
        DATASETS.build(config)


@pytest.mark.parametrize('nested', [False, True])
def test_real_takes_any_label_of_the_set(nested, tmp_path):
    """Image 2 has no label and is left out. Image 3 has two labels."""
    names = [f'ILSVRC2012_val_{number:08d}.JPEG' for number in range(1, 5)]
    folder = [WNIDS[9 - i] + '/' if nested else '' for i in range(4)]
    tree(tmp_path / 'val', [f + name for f, name in zip(folder, names)])
    (tmp_path / 'real.json').write_text(json.dumps([[4], [], [8, 2], [5]]))
    scores = {names[0]: {4: 1}, names[2]: {2: 1}, names[3]: {6: 1}}
    config = dict(type='ImageNetReaL', data_root=str(tmp_path))
    got, metric, dataset = evaluate(config, dict(type='RealAccuracy'), scores)
    assert got == {'real/top1': pytest.approx(200 / 3), 'real/count': 3}
    found = {os.path.basename(item['img_path']): item['gt_label'] for item in map(dataset.get_data_info, range(3))}
    assert found == {names[0]: [4], names[2]: [8, 2], names[3]: [5]}
    assert sorted(metric.correct.tolist()) == [False, True, True]
    assert dataset.get_cat_ids(0) in ([4], [5])
    (tmp_path / 'real.json').write_text(json.dumps([[4], [], [8, 2]]))
    with pytest.raises(UserError, match='ILSVRC2012_val_00000003, but .*ILSVRC2012_val_00000004'):
        DATASETS.build(config)
    (tmp_path / 'real.json').write_text('{"a": 1}')
    with pytest.raises(UserError, match='no list of lists'):
        DATASETS.build(config)
    (tmp_path / 'real.json').write_text('[[1')
    with pytest.raises(UserError, match='real.json is no JSON'):
        DATASETS.build(config)
    os.remove(tmp_path / 'real.json')
    with pytest.raises(UserError, match='no file .*real.json. Expected in the data_root of ImageNetReaL: real.json'):
        DATASETS.build(config)


def objectnet(root, **changes):
    """Three classes of ObjectNet: "Chair" is two classes of ImageNet, "Air freshener" none. Ids differ from labels."""
    id_of_label = {str(label): (label * 7 + 3) % 1000 for label in range(1000)}
    lines = [''] * 1000
    for label, line in id_of_label.items():
        lines[line] = f'thing {label}, kind of thing'
    files = {
        'folder_to_objectnet_label.json': {
            'air_freshener': 'Air freshener',
            'banana': 'Banana',
            'chair': 'Chair',
        },
        'objectnet_to_imagenet_1k.json': {
            'Banana': 'thing 954, kind of thing',
            'Chair': 'thing 559, kind of thing; thing 765, kind of thing',
        },
        'pytorch_to_imagenet_2012_id.json': id_of_label,
    }
    tree(root / 'images', ['air_freshener/0.png', 'banana/1.png', 'chair/2.png', 'chair/3.png'])
    (root / 'mappings').mkdir(exist_ok=True)
    for name, content in {**files, **changes}.items():
        (root / 'mappings' / name).write_text(json.dumps(content))
    (root / 'mappings/imagenet_to_label_2012_v2').write_text('\n'.join(lines) + '\n')
    return dict(type='ObjectNet', data_root=str(root), num_folders=None)


def test_objectnet_maps_classes_to_those_of_imagenet(tmp_path):
    config = objectnet(tmp_path)
    scores = {'1.png': {0: 9, 954: 5}, '2.png': {765: 5, 954: 4}, '3.png': {0: 9, 954: 5, 559: 4}}
    got, metric, dataset = evaluate(config, dict(type='SubsetAccuracy'), scores)
    assert dataset.metainfo['class_subset'] == [559, 765, 954]
    assert [dataset.get_data_info(i)['gt_label'] for i in range(3)] == [[954], [559, 765], [559, 765]]
    assert got == {'accuracy/top1': pytest.approx(200 / 3), 'accuracy/count': 3}
    assert metric.correct.tolist() == [True, True, False]
    assert evaluate(config, dict(type='CorrectMetric'), scores)[1].correct.tolist() == [False, True, False]


def test_objectnet_has_its_border_cut_off(tmp_path):
    config = objectnet(tmp_path)
    framed = np.zeros((12, 10, 3), np.uint8)
    framed[..., 0] = 255
    framed[2:-2, 2:-2] = np.arange(8 * 6 * 3).reshape(8, 6, 3)
    Image.fromarray(framed).save(tmp_path / 'images/banana/1.png')
    inside = DATASETS.build(dict(pipeline=PIPELINE, **config))[0]['inputs']
    assert np.array_equal(inside.numpy(), framed[2:-2, 2:-2, ::-1].transpose(2, 0, 1))


def test_objectnet_incomplete(tmp_path):
    config = objectnet(tmp_path)
    with pytest.raises(UserError, match='has 3 class folders, not 313'):
        DATASETS.build(dict(type='ObjectNet', data_root=str(tmp_path)))
    with pytest.raises(UserError, match="lacks 'thing 1000"):
        objectnet(tmp_path, **{'objectnet_to_imagenet_1k.json': {'Banana': 'thing 1000'}})
        DATASETS.build(config)
    with pytest.raises(UserError, match='No class in .* is one of ImageNet'):
        objectnet(tmp_path, **{'objectnet_to_imagenet_1k.json': {}})
        DATASETS.build(config)
    with pytest.raises(UserError, match='each id from 0 to 999 once'):
        objectnet(tmp_path, **{'pytorch_to_imagenet_2012_id.json': {'0': 1}})
        DATASETS.build(config)
    objectnet(tmp_path)
    tree(tmp_path / 'images', ['zebra/1.png'])
    with pytest.raises(UserError, match="a folder 'zebra' that is not in mappings/folder_to_objectnet_label.json"):
        DATASETS.build(config)
    os.remove(tmp_path / 'mappings/folder_to_objectnet_label.json')
    with pytest.raises(UserError, match='no file .*folder_to_objectnet_label.json'):
        DATASETS.build(config)


KINDS = ['ImageNetA', 'ImageNetR', 'ImageNetSketch', 'StylizedImageNet', 'ImageNetV2', 'ImageNetReaL', 'ObjectNet']


@pytest.mark.parametrize('kind', KINDS)
def test_a_missing_folder_is_named_with_the_layout(kind, tmp_path):
    with pytest.raises(UserError, match=rf'There is no folder .*nowhere.*Expected in the data_root of {kind}: .*<?\w'):
        DATASETS.build(dict(type=kind, data_root=str(tmp_path / 'nowhere')))
    with pytest.raises(UserError, match=f'{kind} got no data_root. Expected'):
        DATASETS.build(dict(type=kind))


def test_folders_of_another_kind(tmp_path):
    tree(tmp_path, ['cat/a.jpg'])
    with pytest.raises(UserError, match="no WordNet ids of ImageNet's classes, first: 'cat'"):
        DATASETS.build(dict(type='ImageNetA', data_root=str(tmp_path), num_folders=None))
    (tmp_path / 'empty' / WNIDS[0]).mkdir(parents=True)
    with pytest.raises(UserError, match=r'no image \(.*.jpg.*\) in the class folders of .*empty'):
        DATASETS.build(dict(type='ImageNetA', data_root=str(tmp_path / 'empty'), num_folders=None))


def test_wrong_predictions_are_refused(tmp_path):
    metric = METRICS.build(dict(type='CorrectMetric'))
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    ten = DataSample(img_path='x.png').set_gt_label(1).set_pred_score(torch.zeros(10)).to_dict()
    with pytest.raises(UserError, match='tells 10 classes apart, but the data set has 3'):
        metric.process(None, [ten])
    unlabelled = DataSample(img_path='x.png').set_pred_score(torch.zeros(3)).to_dict()
    with pytest.raises(UserError, match='label for every image; x.png has none'):
        metric.process(None, [unlabelled])
    with pytest.raises(UserError, match='gives scores; x.png has none'):
        metric.process(None, [DataSample(img_path='x.png').set_gt_label(1).to_dict()])
    nan = DataSample(img_path='x.png').set_gt_label(1).set_pred_score(torch.tensor([0, 1, float('nan')])).to_dict()
    with pytest.raises(UserError, match='gives NaN for x.png'):
        metric.process(None, [nan])


def worker(rank, folder):
    """Evaluate this rank's share of seven images, one of them twice; on rank 0, save the result."""
    metric = METRICS.build(dict(type='CorrectMetric'))
    right = [True, False, False, True, True, False, True]
    loader = DataLoader(range(7), sampler=DefaultSampler(range(7), shuffle=False), collate_fn=pseudo_collate)
    for (index,) in loader:
        score = torch.eye(2)[int(right[index])]
        metric.process(None, [DataSample().set_gt_label(1).set_pred_score(score).to_dict()])
    values = metric.evaluate(7)
    if rank == 0:
        torch.save((values, metric.correct.tolist(), right), f'{folder}/result')


@pytest.mark.slow
def test_two_processes_give_the_order_of_the_data_set(tmp_path):
    processes.on_ranks(worker, str(tmp_path))
    values, correct, right = torch.load(tmp_path / 'result')
    assert correct == right
    assert values == {'accuracy/top1': pytest.approx(400 / 7), 'accuracy/count': 7}
