"""HPM's masks, losses and teacher against formulas in NumPy."""

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.copies import Waits
from mmengine.optim import OptimWrapper

from aemim_mm.engine.optim import Bfloat16OptimWrapper
from aemim_mm.errors import UserError
from aemim_mm.models.baselines.hpm_parts import relative_loss
from aemim_mm.replay import recorded_calls

HIDDEN = 12  # of 16 patches
# Parts of the names of the layers that reconstruct.
PIXELS = ('neck.decoder_blocks', 'neck.ln1', 'neck.decoder_pred')


def expected_hard(predicted, epoch, share=0.5):
    """Mark the patches that are certainly hidden, as the authors' release counts them."""
    count = int(HIDDEN * (epoch + 1) / 100 * share)
    ranks = predicted.argsort(1).argsort(1)
    return ranks >= predicted.shape[1] - count


@pytest.mark.parametrize('epoch', [0, 15, 16, 33, 66, 99])
def test_the_hardest_patches_are_hidden_and_the_others_at_random(epoch, training):
    model = tiny.build_hpm()
    training(epoch)
    torch.manual_seed(epoch)
    images = 4000
    predicted = torch.randn(images, 16)
    ids_keep, ids_restore, mask = (each.numpy() for each in model.backbone.ids_of(model.priorities(predicted)))
    hard = expected_hard(predicted.numpy(), epoch)
    assert hard.sum(1).tolist() == [int(0.06 * (epoch + 1))] * images
    assert (mask.sum(1) == HIDDEN).all() and ids_keep.shape == (images, 16 - HIDDEN)
    assert mask[hard].all()
    assert not np.take_along_axis(mask, ids_keep, 1).any() and ((ids_restore >= 4) == mask).all()
    # Each other patch is hidden with the same probability, whatever its place and its predicted loss.
    count = hard[0].sum()
    probability = (HIDDEN - count) / (16 - count)
    deviation = np.sqrt(probability * (1 - probability) / (images * (16 - count) / 16))
    for places in (np.arange(16), predicted.numpy().argsort(1).argsort(1)):
        hidden, seen = np.zeros(16), np.zeros(16)
        np.add.at(hidden, np.broadcast_to(places, mask.shape)[~hard], mask[~hard])
        np.add.at(seen, np.broadcast_to(places, mask.shape)[~hard], 1)
        rates = hidden[seen > 0] / seen[seen > 0]
        np.testing.assert_allclose(rates, probability, atol=4.5 * deviation)


def test_the_loss_hides_what_the_teacher_predicts(training):
    model = tiny.build_hpm(hard_share=1.0)
    training(0)
    images = tiny.images(model)
    with recorded_calls(model.backbone) as calls, recorded_calls(model.teacher) as teacher:
        model.loss(images, None)
    assert torch.equal(teacher[0].args[0], images)
    mask = calls[0].output[1].numpy()
    assert (mask == (teacher[0].output.numpy().argsort(1).argsort(1) >= 16 - HIDDEN)).all()


def test_outside_training_half_of_the_hidden_patches_are_hard():
    priorities = tiny.build_hpm().priorities(torch.arange(16.0).expand(3, -1))
    assert (priorities >= 1).tolist() == [[False] * 10 + [True] * 6] * 3


def decoded(neck, latent, ids_restore, auxiliary):
    """Decode as mmpretrain's decoder does: all tokens in the order of the image."""
    tokens = neck.decoder_embed(latent)
    hidden = neck.mask_token.expand(len(latent), ids_restore.shape[1] + 1 - latent.shape[1], -1)
    patches = torch.cat([tokens[:, 1:], hidden], 1)
    patches = patches.gather(1, ids_restore.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
    tokens = torch.cat([tokens[:, :1], patches], 1) + neck.decoder_pos_embed
    for block in neck.loss_blocks if auxiliary else neck.decoder_blocks:
        tokens = block(tokens)
    if auxiliary:
        return neck.loss_pred(neck.loss_ln(tokens))[:, 1:]
    return neck.decoder_pred(neck.decoder_norm(tokens))[:, 1:]


def formula(predicted, errors):
    """Compute the relative loss as the authors' release does, over all pairs, in NumPy."""
    total, count = 0.0, 0
    for image, losses in zip(predicted, errors):
        for i in range(len(losses)):
            for j in range(len(losses)):
                probability = 1 / (1 + np.exp(image[i] - image[j]))  # that j is the harder one
                if losses[j] != losses[i]:
                    total -= np.log((probability if losses[j] > losses[i] else 1 - probability) + 1e-6)
                    count += 1
    return total / count


def test_losses_follow_the_formulas():
    model = tiny.build_hpm(head=dict(relative_weight=0.25))
    images = tiny.images(model)
    with recorded_calls(model.backbone) as calls:
        losses = model.loss(images, None)
    latent, mask, ids_restore = calls[0].output
    mask = mask.numpy().astype(bool)
    with torch.no_grad():
        pred, scores = (decoded(model.neck, latent, ids_restore, each).double().numpy() for each in (False, True))
    target = model.head.patchify(images).double().numpy()
    target = (target - target.mean(-1, keepdims=True)) / np.sqrt(target.var(-1, ddof=1, keepdims=True) + 1e-6)
    errors = ((pred - target) ** 2).mean(-1)[mask].reshape(4, -1)
    assert losses.keys() == {'loss_pixels', 'loss_relative'}
    assert losses['loss_pixels'].item() == pytest.approx(errors.mean(), rel=1e-5)
    expected = formula(scores.mean(-1)[mask].reshape(4, -1), errors)
    assert losses['loss_relative'].item() == pytest.approx(0.25 * expected, rel=1e-4)


def test_equal_losses_are_no_pair_and_the_right_order_costs_nothing():
    errors = torch.tensor([[1.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    predicted = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = relative_loss(predicted, errors)
    assert loss.item() == pytest.approx(formula(predicted.detach().double().numpy(), errors.numpy()), rel=1e-4)
    assert relative_loss(errors * 30, errors) < 1e-9 and relative_loss(-errors * 30, errors) > 30
    (gradient,) = torch.autograd.grad(loss, predicted)
    assert gradient[0].all() and not gradient[1].any()
    assert relative_loss(predicted[1:], errors[1:]) == 0


def test_the_labels_give_no_gradient_to_the_reconstruction():
    model = tiny.build_hpm()
    losses = model.loss(tiny.images(model), None)
    own = {name: value for name, value in model.named_parameters() if value.requires_grad}
    found = torch.autograd.grad(losses['loss_relative'], own.values(), retain_graph=True, allow_unused=True)
    without = {name for name, gradient in zip(own, found) if gradient is None}
    assert without == {name for name in own if name.startswith(PIXELS)} and len(without) > 8
    losses['loss_pixels'].backward()
    without = {name for name, value in own.items() if value.grad is None}
    assert without == {name for name in own if name.startswith('neck.loss_')}


def test_the_teacher_predicts_for_the_whole_image():
    model = tiny.build_hpm()
    images = tiny.images(model)
    ids = torch.arange(16).expand(4, -1)
    with torch.no_grad():
        tokens = model.teacher.backbone(images, mask=None)[0]
        expected = decoded(model.teacher.neck, tokens, ids, auxiliary=True).mean(-1)
    torch.testing.assert_close(model.teacher(images), expected, atol=1e-5, rtol=1e-5)
    student = {name for name in model.state_dict() if name.startswith(('backbone.', 'neck.'))}
    assert model.teacher.state_dict().keys() == {name for name in student if not name.startswith(PIXELS)}


def test_bfloat16_is_near_to_float32():
    losses = []
    for wrapper in (OptimWrapper, Bfloat16OptimWrapper):
        model = tiny.build(tiny.hpm(hard_share=0.0))
        torch.manual_seed(0)
        log = model.train_step(
            dict(inputs=tiny.pixels(), data_samples=None), wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        )
        losses.append([log[name].item() for name in ('loss_pixels', 'loss_relative')])
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.03)


def test_a_step_of_aemim_on_it_waits_for_the_device_once():
    model = tiny.build(tiny.aehpm())
    images = tiny.images(model)
    model.loss(images, None)
    with Waits() as waits:
        model.loss(images, None)
    assert waits.calls == ['__bool__']


@pytest.mark.parametrize('adv_target', ['adv', 'clean'])
def test_the_teacher_sees_clean_images_once_and_the_head_gets_the_target(adv_target):
    model = tiny.build(tiny.aehpm(adv_target=adv_target))
    seen, targets = [], []
    forward, loss = model.teacher.forward, model.head.loss
    model.teacher.forward = lambda images: (seen.append(images), forward(images))[1]
    model.head.loss = lambda pred, images, *rest: (targets.append(images), loss(pred, images, *rest))[1]
    step = model.two_passes(tiny.images(model), None)
    assert len(seen) == 1 and seen[0] is step.clean.images
    assert len(targets) == 2 and targets[0] is step.clean.images
    assert targets[1] is (step.clean.images if adv_target == 'clean' else step.adv.images)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(hard_share=1.5), r'hard_share is in \[0, 1\], but got 1.5'),
        (dict(hard_share=[(0, -0.5)]), 'hard_share is a number >= 0'),
        (dict(momentum=1.1), r'momentum is in \[0, 1\], but got 1.1'),
        (dict(backbone=dict(type='MAEViT')), "model.backbone.type='AEMIMViT', but got a MAEViT"),
        (dict(neck=dict(type='AEMIMDecoder')), "model.neck.type='HPMDecoder', but got a AEMIMDecoder"),
        (dict(head=dict(type='AEMIMHead')), "model.head.type='HPMHead', but got a AEMIMHead"),
        (dict(backbone=dict(adapters='norm')), r'Set model.backbone.adapters=\(\)'),
        (dict(backbone=dict(mask_ratio=0)), 'mask_ratio is > 0'),
    ],
)
def test_bad_settings_are_refused(changes, words):
    config = tiny.hpm(**changes)
    if config['backbone']['type'] == 'MAEViT':
        config['backbone'].pop('adapters')
    with pytest.raises(UserError, match=words):
        tiny.build(config)
