"""AutoAttack: the library's own result, in our loop; and our PGD is as strong as its APGD-CE."""

import sys

import pytest
import torch
from helpers import tiny
from helpers.trained import batch, classifier, images_and_labels, trained_classifier

from aemim_mm.errors import UserError
from aemim_mm.robustness.attacked_classifier import AttackedModel, RobustAccuracy, build_attack
from aemim_mm.robustness.autoattack import STANDARD, AutoAttack, available, version_for
from aemim_mm.robustness.pixels import PixelClassifier
from aemim_mm.robustness.sanity import accuracy_under
from aemim_mm.robustness.whitebox import WhiteBox

needs_library = pytest.mark.skipif(not available(), reason='pyautoattack is not installed')


@pytest.fixture
def model():
    return trained_classifier()


def data(model, count):
    images, labels = images_and_labels('test', count)
    return model.data_preprocessor(dict(inputs=images))['inputs'], labels


@needs_library
@pytest.mark.parametrize('norm, eps', [('linf', 4), ('l2', 0.3)])
def test_equals_the_librarys_own_run(model, norm, eps):
    from pyautoattack import AutoAttack as Library

    images, labels = images_and_labels('test', 40)
    ours = AutoAttack(eps, norm, attacks=('apgd-ce', 'apgd-t', 'square'), steps=5, queries=20)
    result = AttackedModel(model, ours).perturb(*data(model, 40))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    library = Library(
        PixelClassifier(model).unit_logits,
        norm=dict(linf='Linf', l2='L2')[norm],
        eps=eps / 255 if norm == 'linf' else eps,
        seed=0,
        version='standard',
    )
    library.attacks_to_run = ['apgd-ce', 'apgd-t', 'square']
    library.apgd.n_iter = library.apgd_targeted.n_iter = 5
    library.square.n_queries = 20
    trace = sys.gettrace()
    with torch.random.fork_rng():
        expected, _ = library.run_standard_evaluation(images / 255, labels, batch_size=40)
    sys.settrace(trace)
    broken = PixelClassifier(model).classes(expected * 255) != labels
    assert torch.equal(result.success, broken)
    attacked = result.attempt > 0
    assert attacked.sum() >= 5
    torch.testing.assert_close(result.x_adv[attacked], expected[attacked] * 255, atol=1e-3, rtol=0)


@needs_library
@pytest.mark.parametrize('norm, eps', [('linf', 4), ('linf', 8), ('l2', 0.3)])
def test_our_pgd_is_as_strong_as_apgd_ce_at_equal_budget(model, norm, eps):
    """100 gradients for each image: APGD's, and ours in one run or in five restarts of 20 steps."""
    batches = [data(model, 200)]
    theirs = accuracy_under(model, AutoAttack(eps, norm, attacks=('apgd-ce',)), batches)
    for attack in (
        WhiteBox(eps, norm, steps=100),
        WhiteBox(eps, norm, steps=20, restarts=5, loss='margin'),
    ):
        ours = accuracy_under(model, attack, batches)
        print(f'{norm} {eps} {attack.loss}: ours {ours:.2f}, APGD-CE {theirs:.2f}')
        assert ours <= theirs + 2
    assert 10 < theirs < 75


@needs_library
def test_leaves_the_model_and_the_process_as_they_were(model, recwarn):
    model.train()
    model.head.fc.bias.grad = torch.ones(10)
    before, state = tiny.snapshot(model), torch.get_rng_state()
    calls = []
    previous = sys.gettrace()

    def trace(frame, event, argument):
        calls.append(event)

    sys.settrace(trace)
    attack = AutoAttack(4, attacks=('apgd-ce', 'apgd-t', 'fab-t', 'square'), steps=2, queries=5)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        AttackedModel(model, attack).test_step(batch(16))
        still = sys.gettrace()
        sys.settrace(previous)
        assert not torch.is_grad_enabled() and (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert still is trace, 'the library has switched the trace off, and with it a debugger or coverage'
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert torch.equal(torch.get_rng_state(), state)


@needs_library
@pytest.mark.parametrize('quantize', [False, True])
@pytest.mark.parametrize('norm, eps', [('linf', 4), ('l2', 0.3)])
def test_the_budget_holds(model, norm, eps, quantize):
    attack = AutoAttack(eps, norm, steps=3, queries=20)
    result = AttackedModel(model, attack, quantize=quantize).perturb(*data(model, 40))
    delta = (result.x_adv - images_and_labels('test', 40)[0]).abs()
    size = delta.max() if norm == 'linf' else delta.flatten(1).norm(dim=1).max() / 255
    assert size <= eps * (1 + 1e-5)
    assert (result.attempt > 0).any()
    assert not quantize or torch.equal(result.x_adv, result.x_adv.to(torch.uint8).float())


@needs_library
def test_accuracy_after_each_attack(model):
    attack = AutoAttack(8, steps=3, queries=20)
    samples = AttackedModel(model, attack).test_step(batch(40))
    metric = RobustAccuracy()
    metric.process(None, [sample.to_dict() for sample in samples])
    got = metric.evaluate(40)
    names = ['clean', 'after_apgd-ce', 'after_apgd-t', 'after_fab-t', 'after_square', 'robust']
    assert list(got) == [f'robust_accuracy/{name}' for name in names]
    values = list(got.values())
    assert values == sorted(values, reverse=True) and values[0] > values[1] > 0
    assert values[-1] == 100 * sum(sample.broken_by == 'none' for sample in samples) / 40


@needs_library
def test_too_few_classes(model):
    images, labels = images_and_labels('test', 100)
    keep = labels < 3
    few = classifier(classes=3)
    inputs = few.data_preprocessor(dict(inputs=images[keep]))['inputs']
    few.eval()
    labels = few(inputs, mode='tensor').argmax(1)
    # Before any work, and with the attacks that do work.
    expected = r"apgd-t needs a classifier with at least 4 classes, but got 3. Set attacks=\('apgd-ce', 'apgd-dlr'"
    with pytest.raises(UserError, match=expected):
        AttackedModel(few, AutoAttack(4, steps=2))
    attacks, _ = version_for(3)
    result = AttackedModel(few, AutoAttack(64, attacks=attacks, steps=5, queries=5)).perturb(inputs, labels)
    assert result.success.float().mean() > 0.5


@pytest.mark.parametrize(
    ('classes', 'attacks', 'note'),
    [
        (None, STANDARD, ''),
        (1000, STANDARD, ''),
        (10, STANDARD, ''),
        (9, STANDARD, 'is not the standard version: apgd-t and fab-t have 8 target classes instead of 9.'),
        (4, STANDARD, 'have 3 target classes instead of 9.'),
        (3, ('apgd-ce', 'apgd-dlr', 'fab-t', 'square'), 'runs apgd-ce, apgd-dlr, fab-t, square, since apgd-t needs 4'),
        (2, ('apgd-ce', 'fab-t', 'square'), 'AutoAttack on 2 classes is not the standard version: it runs apgd-ce,'),
    ],
)
def test_the_version_for_a_number_of_classes(classes, attacks, note):
    got, words = version_for(classes)
    assert got == attacks and note in words and bool(words) == bool(note)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyautoattack', None)
    assert not available()
    with pytest.raises(UserError, match=r"pip install 'pyautoattack>=0.2.0', or pip install 'aemim-mm\[robustness\]'"):
        AutoAttack(4)


@needs_library
@pytest.mark.parametrize(
    'fields, message',
    [
        (dict(eps=0), 'AutoAttack needs eps > 0'),
        (dict(eps=0.03), 'For a fraction such as 8/255, pass 8'),
        (dict(eps=4, attacks=('apgd',)), "attack of AutoAttack 'apgd'. Known: apgd-ce"),
        (dict(eps=4, steps=0), 'steps is a whole number >= 1'),
        (dict(eps=4, queries=1.5), 'queries is a whole number >= 1'),
    ],
)
def test_bad_values(fields, message):
    with pytest.raises(UserError) as error:
        build_attack(dict(type='autoattack', **fields))
    assert message in str(error.value)
