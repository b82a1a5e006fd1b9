"""Attacks on the training losses of a detector: budget, padding, which losses, and that nothing else changes."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers import detectors, tiny
from helpers.detectors import batch, image
from mmdet.datasets.transforms import PackDetInputs, Pad, Resize
from mmdet.structures.bbox import HorizontalBoxes
from torch import nn

from aemim_mm.attacks import PixelSpace
from aemim_mm.datasets.shift_pipelines import annotated_detection
from aemim_mm.errors import UserError
from aemim_mm.robustness.attacked_detector import (
    LOSSES,
    AttackedDetector,
    DetectionAttack,
    ImageUnderAttack,
    losses_of_training,
    unpadded_shape,
)
from aemim_mm.robustness.detector_sanity import expected_loss

FCOS = dict(
    type='FCOS',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=False),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, start_level=1, num_outs=3),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=3,
        in_channels=8,
        feat_channels=32,
        strides=[8, 16, 32],
        regress_ranges=((-1, 32), (32, 64), (64, 1e8)),
        norm_on_bbox=True,
    ),
    test_cfg=dict(nms_pre=50, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
)


@pytest.fixture(scope='module')
def shared():
    return detectors.detector()


@pytest.fixture
def model(shared):
    return deepcopy(shared)


def attack(eps=4.0, steps=3, **fields):
    return dict(type='detection', eps=eps, steps=steps, **fields)


@pytest.mark.parametrize('quantize', [False, True])
@pytest.mark.parametrize(('norm', 'eps'), [('linf', 4.0), ('l2', 2.0)])
def test_the_budget_is_in_pixels_and_padding_is_not_perturbed(model, norm, eps, quantize):
    """One image is padded by the data preprocessor alone, the other one in the pipeline, too."""
    images = [image((80, 60), 1), image((72, 80), 2, padded=(88, 88))]
    inputs, samples = batch(model, *images)
    assert inputs.shape[-2:] == (96, 96)
    found = AttackedDetector(model, attack(eps, norm=norm), quantize).perturb(inputs, samples)
    x_adv = PixelSpace.of(model.data_preprocessor).denormalize(found)
    for number, (height, width) in enumerate([(80, 60), (72, 80)]):
        inside = torch.zeros(96, 96, dtype=torch.bool)
        inside[:height, :width] = True
        assert torch.equal(found[number][:, ~inside], inputs[number][:, ~inside])
        # The data preprocessor swaps the channels.
        clean = images[number][0].flip(0)[:, :height, :width].float()
        perturbed = x_adv[number, :, :height, :width]
        delta = perturbed - clean
        size = delta.abs().max() if norm == 'linf' else delta.norm() / 255
        assert 0.5 * eps < size <= eps + 1e-3 and perturbed.min() > -1e-3 and perturbed.max() < 255 + 1e-3
        if quantize:
            torch.testing.assert_close(perturbed, perturbed.round(), atol=1e-3, rtol=0)


@pytest.mark.parametrize('pad', [dict(size=(90, 100)), dict(pad_to_square=True), dict(size_divisor=32)])
def test_annotations_follow_the_image_and_padding_is_found(pad):
    """The pipeline of mmdet's test, whose annotations are not resized; the oracle is the scale by hand."""
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize'), dict(type='LoadAnnotations'), dict(type='Pad')]
    loading = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
    moved = annotated_detection(steps, loading)
    assert [step['type'] for step in moved] == ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'Pad']
    assert moved[1] == loading and len(steps) == 4

    pixels = np.random.default_rng(0).integers(0, 256, (45, 64, 3), dtype=np.uint8)
    results = dict(img=pixels, img_shape=(45, 64), ori_shape=(45, 64))
    results['gt_bboxes'] = HorizontalBoxes(torch.tensor([[10.0, 5.0, 40.0, 30.0]]))
    for step in (Resize(scale=(80, 80), keep_ratio=True), Pad(pad_val=dict(img=(114, 114, 114)), **pad)):
        results = step(results)
    keys = ('ori_shape', 'img_shape', 'scale_factor')
    packed = PackDetInputs(meta_keys=keys)(dict(results, gt_bboxes_labels=np.zeros(1, dtype=np.int64)))
    sample, packed = packed['data_samples'], packed['inputs']
    height, width = unpadded_shape(sample)
    assert (height, width) == (56, 80)
    outside = torch.ones(packed.shape[1:], dtype=torch.bool)
    outside[:height, :width] = False
    assert sample.img_shape == packed.shape[1:] and (packed[:, outside] == 114).all()
    expected = torch.tensor([[10.0, 5.0, 40.0, 30.0]]) * torch.tensor([80 / 64, 56 / 45] * 2)
    torch.testing.assert_close(sample.gt_instances.bboxes.tensor, expected)


def test_eps_zero_passes_the_images_on(model):
    inputs, samples = batch(model, image((64, 64)))
    assert AttackedDetector(model, attack(0.0)).perturb(inputs, samples) is inputs


@pytest.mark.parametrize('losses', LOSSES)
def test_the_attack_raises_its_losses_more_than_noise(model, losses):
    inputs, samples = batch(model, image((80, 80), 3))
    found = [
        AttackedDetector(model, attack(eps, steps, losses=losses)).perturb(inputs, samples)
        for eps, steps in ((0.0, 0), (4.0, 0), (4.0, 6))
    ]
    with losses_of_training(model, 0):
        one = ImageUnderAttack(model, inputs, samples[0], DetectionAttack(4.0, losses=losses))
        clean, noise, attacked = (expected_loss(one, images) for images in found)
    assert attacked - clean > 2 * abs(noise - clean)


def test_the_other_images_of_a_batch_do_not_matter(model):
    images = [image((80, 80), 1), image((80, 80), 2, objects=0), image((80, 80), 3)]
    attacked = AttackedDetector(model, attack())
    inputs, samples = batch(model, *images)
    together = attacked.perturb(inputs, samples)
    for number, one in enumerate(images):
        assert torch.equal(attacked.perturb(*batch(model, one))[0], together[number])
    # An image without objects has losses of the region proposals and of the background.
    assert together.isfinite().all() and not torch.equal(together[1], inputs[1])


def test_nothing_else_changes(model):
    model.train()
    model.backbone.layer1.eval()
    model.rpn_head.rpn_cls.bias.grad = torch.ones(3)
    inputs, samples = batch(model, image((80, 60), 1), image((64, 64), 2))
    before, state, truth = tiny.snapshot(model), torch.get_rng_state(), deepcopy(samples)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        AttackedDetector(model, attack()).perturb(inputs, samples)
        assert not torch.is_grad_enabled()
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert torch.equal(torch.get_rng_state(), state)
    for sample, old in zip(samples, truth):
        assert torch.equal(sample.gt_instances.bboxes, old.gt_instances.bboxes)
        assert np.array_equal(sample.gt_instances.masks.masks, old.gt_instances.masks.masks)


def test_predictions_are_those_of_the_detector_on_the_perturbed_images(model):
    images = [image((80, 60), 1), image((64, 64), 2)]
    attacked = AttackedDetector(model, attack())
    pixels, samples = zip(*images)
    found = attacked.test_step(dict(inputs=list(pixels), data_samples=list(deepcopy(samples))))
    inputs, samples = batch(model, *images)
    model.eval()
    with torch.no_grad():
        expected = model.predict(attacked.perturb(inputs, samples), samples)
    for one, other in zip(found, expected):
        assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)
        assert torch.equal(one.pred_instances.scores, other.pred_instances.scores)


@pytest.mark.filterwarnings('ignore:torch.meshgrid:UserWarning')  # mmdet, for the points of FCOS.
@pytest.mark.parametrize('config', [None, FCOS], ids=['Mask R-CNN', 'FCOS'])
def test_the_losses_are_those_of_training(config):
    """The oracle is training mode with BatchNorm in eval mode. FCOS has another loss if all of it is in eval mode."""
    model = detectors.detector(model=config)
    inputs, samples = batch(model, image((64, 64), 1))
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()

    def losses():
        torch.manual_seed(0)
        found = model.parse_losses(model.loss(inputs, deepcopy(samples)))[1]
        return {name: float(value.detach()) for name, value in found.items()}

    expected = losses()
    with losses_of_training(model, 0):
        got = losses()
    model.eval()
    in_eval_mode = losses()
    assert got == pytest.approx(expected) and got['loss'] > 0
    assert (in_eval_mode == pytest.approx(expected)) == (config is None)


def test_which_losses_count():
    losses = {name: torch.ones(()) for name in ('loss_rpn_cls', 's0.loss_cls', 'loss_conf', 'loss_rpn_bbox')}
    losses |= dict(loss_mask=torch.ones(()), loss_centerness=torch.ones(()), acc=torch.ones(()))
    chosen = {kind: list(DetectionAttack(4.0, losses=kind).chosen(losses)) for kind in LOSSES}
    assert chosen['classification'] == ['loss_rpn_cls', 's0.loss_cls', 'loss_conf']
    assert chosen['localisation'] == ['loss_rpn_bbox', 'loss_mask', 'loss_centerness']
    assert sorted(chosen['both']) == sorted(chosen['classification'] + chosen['localisation'])


def test_bad_input(model):
    with pytest.raises(UserError, match="kind of losses 'boxes'. Known: both, classification, localisation"):
        DetectionAttack(4.0, losses='boxes')
    with pytest.raises(UserError, match='No loss of loss_cls is of localisation'):
        DetectionAttack(4.0, losses='localisation').chosen(dict(loss_cls=torch.ones(())))
    inputs, samples = batch(model, image((64, 64)))
    del samples[0].gt_instances.masks
    with pytest.raises(UserError, match='MaskRCNN learns masks, but a data sample has none'):
        AttackedDetector(model, attack()).perturb(inputs, samples)
    del samples[0].gt_instances
    with pytest.raises(UserError, match='needs the boxes of each image'):
        AttackedDetector(model, attack()).perturb(inputs, samples)
