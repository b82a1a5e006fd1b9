"""Corruptions equal the output of the package and are the same in every run."""

import json
import sys

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from torch.utils.data import DataLoader

from aemim_mm.datasets import CropBorder, DemoFashionMNIST
from aemim_mm.datasets.corruptions import CORRUPTIONS, Corrupt, corrupt, image_seed, numpy_seed
from aemim_mm.datasets.shift_pipelines import corrupted, corrupted_detection, native_size
from aemim_mm.errors import UserError

package = pytest.importorskip('imagecorruptions')
# These draw no random numbers.
FIXED = ('defocus_blur', 'zoom_blur', 'brightness', 'contrast', 'pixelate', 'jpeg_compression')


@pytest.fixture(scope='module')
def photo(photos):
    return photos[0][:96, :80]


def test_names_are_those_of_the_package():
    assert list(CORRUPTIONS) == package.get_corruption_names()


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_equals_the_package(name, photo):
    """Call the public function of the package, with its random generators seeded."""
    own = dict(seed=7) if name in ('impulse_noise', 'glass_blur') else {}
    for severity in (1, 4):
        with numpy_seed(7):
            expected = package.corrupt(photo, severity, name, **own)
        assert np.array_equal(corrupt(photo, name, severity, seed=7), expected)


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_distance_to_the_clean_image_grows_with_severity(name, photos):
    """On average over photographs and seeds, images differ more at each severity; for frost only up to severity 3."""
    clean = [photo[:120, :120] for photo in photos]

    def distance(severity):
        pairs = [(corrupt(image, name, severity, seed), image.astype(float)) for image in clean for seed in range(4)]
        return np.mean([np.abs(done - image).mean() for done, image in pairs])

    low, middle, high = distance(1), distance(3), distance(5)
    assert 0 < low < middle
    assert (low if name == 'frost' else middle) < high


@pytest.mark.parametrize('name', CORRUPTIONS)
@pytest.mark.parametrize('shape', [(28, 28), (28, 28, 1), (28, 28, 3), (4, 9, 3)])
def test_grey_and_small_images_keep_shape_and_type(name, shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for severity in (1, 5):
        done = corrupt(image, name, severity, seed=1)
        assert done.shape == shape and done.dtype == np.uint8
        assert not np.array_equal(done, image)


@pytest.mark.parametrize('name', ['gaussian_noise', 'shot_noise', 'impulse_noise'])
def test_noise_on_grey_has_its_full_strength(name, photo):
    grey = photo[..., 0]
    seen = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(corrupt(grey, name, 3, seed=1), corrupt(seen, name, 3, seed=1)[..., 0])


@pytest.mark.parametrize('name', ['fog', 'contrast', 'zoom_blur', 'elastic_transform'])
def test_grey_equals_the_channels_of_a_colourless_image(name, photo):
    grey = photo[..., 0]
    seen = corrupt(np.repeat(grey[..., None], 3, axis=2), name, 3, seed=1)
    for channel in range(3):
        assert np.array_equal(corrupt(grey, name, 3, seed=1), seen[..., channel])


def test_the_package_gets_rgb(photo):
    """Loaders return BGR. JPEG compression treats red and blue differently."""
    bgr = photo[..., ::-1]
    done = Corrupt('jpeg_compression', 5)(dict(img=bgr, sample_idx=0))['img']
    expected = package.corrupt(photo, 5, 'jpeg_compression')
    assert np.array_equal(done[..., ::-1], expected)
    as_it_is = Corrupt('jpeg_compression', 5, channel_order='rgb')(dict(img=bgr, sample_idx=0))['img']
    assert np.array_equal(as_it_is, package.corrupt(np.ascontiguousarray(bgr), 5, 'jpeg_compression'))
    assert not np.array_equal(done, as_it_is)


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_random_numbers_follow_from_seed_and_image_alone(name, photo):
    def run(index, seed=0, before=0):
        np.random.seed(before)
        state = np.random.get_state()[1].copy()
        done = Corrupt(name, 3, seed=seed)(dict(img=photo, sample_idx=index))['img']
        assert np.array_equal(np.random.get_state()[1], state)
        return done

    first = run(3)
    assert np.array_equal(run(3, before=99), first)
    if name not in FIXED:
        assert not np.array_equal(run(4), first)
        assert not np.array_equal(run(3, seed=1), first)


def test_seeds_differ_by_everything_they_come_from():
    places = [0, 1, 49_999, 'a.png', 'b.png']
    seeds = [image_seed(s, n, v, p) for s in (0, 1) for n in CORRUPTIONS for v in (1, 5) for p in places]
    assert len(set(seeds)) == len(seeds)
    # These values are fixed, so that later versions reproduce results.
    assert image_seed(0, 'fog', 3, 5) == image_seed(0, 'fog', 3, np.int64(5)) == 2660038084


@pytest.mark.parametrize('name', ['gaussian_noise', 'glass_blur', 'impulse_noise'])
def test_any_number_of_workers_in_any_order(name, write, tmp_path):
    write(tmp_path, [f'{i}.png' for i in range(6)])
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Corrupt', corruption=name, severity=3)]
    dataset = CustomDataset(str(tmp_path), pipeline=pipeline, with_label=False, test_mode=True)

    def run(**kwargs):
        items = (item for batch in DataLoader(dataset, collate_fn=pseudo_collate, **kwargs) for item in batch['img'])
        return [item.tobytes() for item in items]

    alone = run(batch_size=1)
    assert run(batch_size=2, num_workers=2) == alone
    sampler = DefaultSampler(dataset, shuffle=True, seed=1)
    order = list(sampler)
    assert run(batch_size=3, num_workers=1, sampler=sampler) == [alone[i] for i in order]
    assert order != sorted(order)


def test_embedded_test_images():
    """28 x 28 grey pixels go through the pipeline of the data set to the packed tensor."""
    clean = DemoFashionMNIST(split='test', limit=3, pipeline=[dict(type='PackInputs')])
    noisy = DemoFashionMNIST(
        split='test', limit=3, pipeline=corrupted([dict(type='PackInputs')], 'gaussian_noise', 5, seed=2)
    )
    for i in range(3):
        image = clean[i]['inputs']
        seed = image_seed(2, 'gaussian_noise', 5, i)
        expected = corrupt(image[0].numpy(), 'gaussian_noise', 5, seed)
        assert noisy[i]['inputs'].shape == image.shape
        assert np.array_equal(noisy[i]['inputs'][0].numpy(), expected)


def test_corruptions_come_after_cropping_in_classification_and_after_loading_in_detection():
    classify = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=256),
        dict(type='CenterCrop', crop_size=224),
        dict(type='PackInputs'),
    ]
    step = dict(type='Corrupt', corruption='fog', severity=2, seed=0)
    assert corrupted(classify, 'fog', 2) == [*classify[:3], step, classify[3]]
    detect = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(1333, 800)), dict(type='PackDetInputs')]
    step = dict(type='mmpretrain.Corrupt', corruption='fog', severity=2, seed=4, channel_order='rgb')
    assert corrupted_detection(detect, 'fog', 2, seed=4) == [detect[0], step, *detect[1:]]
    with pytest.raises(UserError, match='PackInputs'):
        corrupted(detect, 'fog', 2)
    with pytest.raises(UserError, match='LoadImageFromFile'):
        corrupted_detection(classify[1:], 'fog', 2)


@pytest.mark.parametrize('size, crop', [(224, 224), (192, 192), (160, (160, 96))])
def test_images_of_imagenet_c_are_not_enlarged(size, crop, photos):
    pipeline = [
        dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
        dict(type='CenterCrop', crop_size=crop),
    ]
    steps = native_size(pipeline)
    image = np.tile(photos[0], (2, 2, 1))[:224, :224]
    results = dict(img=image)
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    height, width = crop if isinstance(crop, tuple) else (crop, crop)
    assert results['img'].shape == (height, width, 3)
    assert [step['type'] for step in steps] == ['Resize'] and steps[0]['interpolation'] == 'bicubic'
    if size == 224:
        assert np.array_equal(results['img'], image)
    whole = [dict(type='Resize', scale=224)]
    assert native_size(whole) == whole


def test_a_border_is_cut_off():
    image = np.arange(7 * 9 * 3).reshape(7, 9, 3)
    done = CropBorder(2)(dict(img=image))
    assert np.array_equal(done['img'], image[2:5, 2:7]) and done['img_shape'] == (3, 5)
    with pytest.raises(UserError, match='cannot be cut off an image of 7x9'):
        CropBorder(4)(dict(img=image))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(corruption='rain'), "Unknown corruption 'rain'. Known: brightness"),
        (dict(severity=0), 'from 1 to 5, but got 0'),
        (dict(severity=True), 'from 1 to 5, but got True'),
        (dict(seed=-1), 'at least 0, but got -1'),
        (dict(channel_order='hsv'), "Unknown channel_order 'hsv'"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(UserError, match=message):
        Corrupt(**{'corruption': 'fog', **change})


@pytest.mark.parametrize(
    'results, message',
    [
        (dict(img=np.zeros((8, 8, 3), np.float32), sample_idx=0), r'uint8 .* got float32 of shape \(8, 8, 3\)'),
        (dict(img=np.zeros((8, 8, 4), np.uint8), sample_idx=0), r'shape \(8, 8, 4\)'),
        (dict(img=np.zeros((3, 8, 3), np.uint8), sample_idx=0), r'at least 4 pixels, but got an image of \(3, 8\)'),
        (dict(img=np.zeros((8, 8, 3), np.uint8)), 'sample_idx or img_path'),
    ],
)
def test_wrong_images(results, message):
    with pytest.raises(UserError, match=message):
        Corrupt('fog')(results)


def test_the_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(UserError, match=r"pip install 'imagecorruptions-imaug>=1.1.5'"):
        Corrupt('fog')


def test_a_package_of_the_same_name_that_cannot_be_seeded(monkeypatch):
    monkeypatch.setitem(package.corruption_dict, 'glass_blur', lambda x, severity=1: x)
    with pytest.raises(UserError, match='cannot be seeded.*pip uninstall imagecorruptions'):
        Corrupt('fog')


def test_a_data_set_of_mmdet(write, tmp_path):
    """The second of two images keeps the objects of the clean image."""
    pytest.importorskip('mmdet')
    pytest.importorskip('aemim_mm.det')
    from mmdet.registry import DATASETS

    paths = write(tmp_path, ['1.png', '2.png'])
    images = [dict(id=i, file_name=f'{i}.png', height=168, width=200) for i in (1, 2)]
    objects = [dict(id=i, image_id=i, category_id=1, bbox=[10, 20, 30, 40], area=1200, iscrowd=0) for i in (1, 2)]
    content = dict(images=images, annotations=objects, categories=[dict(id=1, name='thing')])
    (tmp_path / 'some.json').write_text(json.dumps(content))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='mmdet.PackDetInputs', meta_keys=('img_id',)),
    ]

    def item(pipeline):
        config = dict(type='CocoDataset', ann_file='some.json', data_root=str(tmp_path), data_prefix=dict(img=''))
        config.update(test_mode=True)
        return DATASETS.build(dict(metainfo=dict(classes=('thing',)), pipeline=pipeline, **config))[1]

    clean, noisy = item(pipeline), item(corrupted_detection(pipeline, 'impulse_noise', 3, seed=1))
    bgr = np.asarray(Image.open(paths[1]))[..., ::-1]
    assert np.array_equal(clean['inputs'].numpy().transpose(1, 2, 0), bgr)
    expected = corrupt(bgr, 'impulse_noise', 3, image_seed(1, 'impulse_noise', 3, 1))
    assert np.array_equal(noisy['inputs'].numpy().transpose(1, 2, 0), expected)
    boxes = [sample['data_samples'].gt_instances.bboxes.tensor.tolist() for sample in (clean, noisy)]
    assert boxes[0] == boxes[1] == [[10, 20, 40, 60]]


def test_equals_the_transform_of_mmdet(photo):
    """Ours equals mmdet's with the same seed. onedl-mmdetection 3.5 has none and uses ours by its scope."""
    pytest.importorskip('mmdet')
    pytest.importorskip('aemim_mm.det')
    from mmdet.datasets.transforms import transforms
    from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS

    theirs = getattr(transforms, 'Corrupt', None)
    for name in ('gaussian_noise', 'jpeg_compression', 'snow'):
        with numpy_seed(image_seed(0, name, 3, 5)):
            expected = theirs(name, 3)(dict(img=photo))['img'] if theirs else package.corrupt(photo, 3, name)
        step = corrupted_detection([dict(type='LoadImageFromFile')], name, 3)[1]
        assert np.array_equal(MMDET_TRANSFORMS.build(step)(dict(img=photo, sample_idx=5))['img'], expected)
