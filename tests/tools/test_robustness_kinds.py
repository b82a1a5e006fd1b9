"""tools/robustness.py: the encoder alone, configs side by side, rounding, and what is found before any work."""

import json

import pytest
import torch
from helpers import runs
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from aemim_mm.datasets.shift_classes import imagenet_wnids
from aemim_mm.robustness import AttackedModel

CLASSIFIER = runs.CONFIGS / 'demo/vit-tiny-scratch_16e_fashion-mnist.py'
SMALL = dict(num_layers=1, embed_dims=48, num_heads=2, feedforward_channels=96)
DIFFERENT = """
_base_ = {base!r}
model = dict(backbone=dict(arch=dict({arch})), neck=dict(input_features=48), head=dict(in_channels=48))
{more}
"""


def options(**arch):
    return [f'model.backbone.arch.{name}={value}' for name, value in {**SMALL, **arch}.items()]


HEAD = ('model.neck.input_features=48', 'model.head.in_channels=48')
DECODER = ('model.neck.embed_dim=48', 'model.neck.decoder_embed_dim=32', 'model.neck.decoder_num_heads=2')


def random_weights(config, options, path):
    """A checkpoint of a seeded model that was not trained."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({name: int(value) for name, _, value in (option.partition('=') for option in options)})
    torch.manual_seed(0)
    model = cfg.model.to_dict()
    model.setdefault('data_preprocessor', cfg.get('data_preprocessor') or {})
    model['backbone'].pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(model)
        model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
    return random_weights(CLASSIFIER, [*options(), *HEAD], tmp_path_factory.mktemp('classifier') / 'x.pth')


@pytest.fixture(scope='module')
def mae(tmp_path_factory):
    return random_weights(runs.MAE, [*options(), *DECODER], tmp_path_factory.mktemp('mae') / 'x.pth')


def measure(config, checkpoint, out, *argv, options):
    runs.run('robustness.py', config, checkpoint, '--out', out, *argv, '--cfg-options', *options)
    return json.loads((out / 'results.json').read_text())


def refused(capsys, *args, **kwargs):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        measure(*args, **kwargs)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count('error:') == 1 and 'Traceback' not in error
    return error


def test_the_encoder_of_a_classifier(classifier, tmp_path):
    flags = ('--suite', 'encoder', '--limit', 12, '--no-checks')
    found = measure(CLASSIFIER, f'x={classifier}', tmp_path, *flags, options=[*options(), *HEAD])['results']['x']
    eps = (1, 2, 4, 8)
    assert list(found) == ['clean', *[f'{kind}/{e}' for kind in ('feature-attack', 'features') for e in eps]]
    assert all(found[f'feature-attack/{e}']['accuracy'] <= found['clean']['accuracy'] for e in eps)
    moved = [found[f'features/{e}']['figures'] for e in eps]
    for figures in moved:
        assert figures['before']['estimate'] == 0
        assert figures['attack']['low'] > figures['noise']['high'] > figures['noise']['low'] > 0
    # Twice the radius moves a smooth network about twice as far.
    assert moved[1]['noise']['estimate'] == pytest.approx(2 * moved[0]['noise']['estimate'], rel=0.1)
    assert {'features-moved.svg', 'feature-attack.svg'} <= {path.name for path in tmp_path.glob('*.svg')}


def test_carlini_and_wagner(classifier, tmp_path, monkeypatch):
    pytest.importorskip('foolbox')
    monkeypatch.setattr('aemim_mm.robustness.suites.EPS', (2,))
    flags = ('--suite', 'cw', '--limit', 12, '--no-checks', '--cw-options', 'steps=20', 'binary_search_steps=2')
    found = measure(CLASSIFIER, f'x={classifier}', tmp_path, *flags, options=[*options(), *HEAD])
    assert list(found['results']['x']) == ['clean', 'cw', 'margin/2'] and 'up to 2 x 20 steps' in found['notes']['cw']
    figures = found['results']['x']['cw']['figures']
    accuracies = [figures[f'accuracy at {radius}']['estimate'] for radius in ('0.25', '0.5', '1')]
    assert found['results']['x']['clean']['accuracy'] >= accuracies[0] >= accuracies[1] >= accuracies[2]
    assert 'cw median L2' in (tmp_path / 'results.csv').read_text()
    small = [*options(), *HEAD]
    # Other options are another measurement.
    again = measure(CLASSIFIER, f'x={classifier}', tmp_path, *flags[:-1], 'binary_search_steps=1', options=small)
    assert 'up to 1 x 20 steps' in again['notes']['cw']


def test_a_pre_training_model_on_its_training_images(mae, tmp_path):
    small = [*options(), *DECODER]
    flags = ('--suite', 'encoder', '--limit', 12)
    found = measure(runs.MAE, f'x={mae}', tmp_path / 'a', *flags, options=small)['results']['x']
    for e in (1, 2, 4, 8):
        moved, loss = (found[f'{kind}/{e}']['figures'] for kind in ('features', 'reconstruction'))
        assert moved['attack']['estimate'] > moved['noise']['estimate'] > moved['before']['estimate'] == 0
        rise = {name: loss[name]['estimate'] - loss['before']['estimate'] for name in ('noise', 'attack')}
        assert rise['attack'] > abs(rise['noise'])
    # Its crops and masks are the same in every run, and in batches of another kind the same images.
    again = measure(runs.MAE, f'x={mae}', tmp_path / 'b', *flags, options=small)['results']['x']
    assert again == found
    assert 'reconstruction/8 attack' in (tmp_path / 'a/results.csv').read_text()
    crossed = ('--suite', 'crossed', '--limit', 12, '--only', '*/8', '*/32')
    found = measure(runs.MAE, f'x={mae}', tmp_path / 'c', *crossed, options=small)['results']['x']
    assert list(found) == [f'crossed-{kind}/{e}' for kind in ('features', 'reconstruction') for e in (8, 32)]
    for figures in (entry['figures'] for entry in found.values()):
        assert figures['crossed']['estimate'] < figures['attack']['estimate']
    assert found['crossed-features/8']['figures']['attack'] == again['features/8']['figures']['attack']


def test_configs_side_by_side(classifier, tmp_path, capsys):
    deeper = dict(SMALL, num_layers=2)
    text = DIFFERENT.format(base=str(CLASSIFIER), arch=', '.join(f'{k}={v}' for k, v in deeper.items()), more='')
    (tmp_path / 'deep=er.py').write_text(text)
    small = tmp_path / 'small.py'
    small.write_text(
        DIFFERENT.format(base=str(CLASSIFIER), arch=', '.join(f'{k}={v}' for k, v in SMALL.items()), more='')
    )
    other = random_weights(tmp_path / 'deep=er.py', [], tmp_path / 'lr=1.pth')
    compared = ('--limit', 20, '--compare', f'deeper={tmp_path}/deep=er.py:{other}', f'same={classifier}')
    runs.run('robustness.py', small, f'x={classifier}', '--out', tmp_path / 'out', *compared)
    content = json.loads((tmp_path / 'out/results.json').read_text())
    assert list(content['results']) == ['x', 'deeper', 'same']
    assert content['results']['same'] == content['results']['x']
    # Each by itself gives the same.
    runs.run('robustness.py', tmp_path / 'deep=er.py', f'deeper={other}', '--out', tmp_path / 'alone', '--limit', 20)
    alone = json.loads((tmp_path / 'alone/results.json').read_text())
    assert alone['results']['deeper'] == content['results']['deeper']

    (tmp_path / 'fewer.py').write_text(text.replace('\n\n', '\n') + 'test_dataloader = dict(dataset=dict(limit=100))')
    with pytest.raises(SystemExit) as end:
        compared = ('--compare', f'fewer={tmp_path}/fewer.py:{other}')
        runs.run('robustness.py', small, f'x={classifier}', '--out', tmp_path / 'out', *compared)
    error = capsys.readouterr().err
    assert end.value.code == 2 and 'has other test images than' in error and '2000 and 100' in error


def test_a_classifier_and_a_pre_training_model_are_not_compared(classifier, tmp_path, capsys):
    flags = ('--suite', 'encoder', '--compare', f'{runs.MAE}:x.pth')
    error = refused(capsys, CLASSIFIER, classifier, tmp_path, *flags, options=options())
    assert 'is of a classifier' in error and 'of a pre-training model. Compare models of one kind' in error


def test_suites_that_are_not_for_this_model(tmp_path, capsys):
    error = refused(capsys, runs.MAE, 'x.pth', tmp_path, '--suite', 'white-box', options=options())
    assert (
        'The suite white-box is not for a pre-training model, as MAE is. Offered for one: --suite crossed or encoder'
        in error
    )


def test_rounding_changes_attacked_parts_only(classifier, tmp_path, monkeypatch):
    seen = []

    def spy(*args, **kwargs):
        seen.append(kwargs['quantize'])
        return AttackedModel(*args, **kwargs)

    monkeypatch.setattr('aemim_mm.robustness.run.AttackedModel', spy)
    monkeypatch.setattr('aemim_mm.robustness.suites.EPS', (2,))
    flags = ('--suite', 'encoder', '--limit', 8, '--no-checks')
    for extra in ((), ('--quantize',), ('--quantize',)):
        measure(CLASSIFIER, f'x={classifier}', tmp_path, *flags, *extra, options=[*options(), *HEAD])
    # The third time, all is there.
    assert seen == [False, True]


def test_missing_data_are_named_before_the_first_part(classifier, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        flags = ('--suite', 'shift', 'imagenet-c', '--limit', 5, '--shift-root', tmp_path)
        measure(CLASSIFIER, f'x={classifier}', tmp_path / 'out', *flags, options=[*options(), *HEAD])
    lines = capsys.readouterr().out.splitlines()
    skipped = [line for line in lines if line.startswith('skipped')]
    assert end.value.code == 2 and lines[: len(skipped)] == skipped and lines[len(skipped)].startswith('x: clean')
    assert len(skipped) == 8
    assert f'skipped imagenet-a: There is no folder {tmp_path}/imagenet-a' in skipped[2]
    assert '<wnid>/*.jpg with 200 folders' in skipped[2]
    assert skipped[-1].startswith('skipped imagenet-c/gaussian_noise/1 and 74 like it: There is no folder')
    missing = json.loads((tmp_path / 'out/results.json').read_text())['missing']
    assert len(missing) == 7 + 75


def test_a_test_set_of_other_classes_is_an_error_before_any_work(classifier, tmp_path, capsys):
    for wnid in imagenet_wnids()[:200]:
        (tmp_path / 'imagenet-a' / wnid).mkdir(parents=True)
    flags = ('--suite', 'shift', '--limit', 5, '--shift-root', tmp_path)
    error = refused(capsys, CLASSIFIER, f'x={classifier}', tmp_path / 'out', *flags, options=[*options(), *HEAD])
    assert 'x tells 10 classes apart, but imagenet-a has labels of 1000' in error
    assert not list(tmp_path.glob('out/parts/*/*.json'))
