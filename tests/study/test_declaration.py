"""Studies are read, hashed and refused."""

import pytest
from helpers import runs

from aemim_mm.errors import UserError
from aemim_mm.study.declaration import chosen
from aemim_mm.study.reading import read_study

FILES = sorted((runs.CONFIGS / 'studies').glob('*.py'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_the_studies_of_the_project_are_declared_well(path):
    study = read_study(path)
    first, second = study.runs()[:2]
    assert first.method == study.baseline and second.seed == first.seed, 'pairs are completed first'
    contents = {run.config_hash for run in study.runs()}
    assert len(contents) == len(study.methods), 'no two methods are the same'
    assert f'python tools/study.py configs/studies/{path.name}' in path.read_text()


def test_runs_and_their_choice(study_file):
    study = read_study(study_file)
    assert study.methods['fast'].options == (
        'model.backbone.arch.num_layers=1',
        'train_dataloader.dataset.limit=64',
        'model.adv_share=0.25',
    )
    names = [run.name for run in study.runs()]
    assert names == ['exact-seed0', 'fast-seed0', 'exact-seed1', 'fast-seed1']
    assert [run.name for run in chosen(study.runs(), ['fast', 'exact-seed1'])] == names[1:]
    assert chosen(study.runs(), []) == study.runs()
    with pytest.raises(UserError, match="Unknown run 'slow'. Known: exact, exact-seed0, "):
        chosen(study.runs(), ['slow'])


def hashes(path):
    return {run.name: run.config_hash for run in read_study(path).runs()}


def test_the_hash_follows_what_a_method_does(study_file):
    before, text = hashes(study_file), study_file.read_text()
    moved = study_file.parent / 'elsewhere/other.py'
    moved.parent.mkdir()
    moved.write_text(text.replace('seeds = [0, 1]', 'seeds = [0, 1, 2]').replace("'linear'", "'knn'"))
    assert {name: value for name, value in hashes(moved).items() if 'seed2' not in name} == before
    study_file.write_text(text.replace('adv_share=0.25', 'adv_share=0.5'))
    after = hashes(study_file)
    assert after['exact-seed0'] == before['exact-seed0'] and after['fast-seed0'] != before['fast-seed0']
    for old, new in [('num_layers=1', 'num_layers=2'), ('attacked_images = 20', 'attacked_images = 30')]:
        study_file.write_text(text.replace(old, new))
        assert not set(hashes(study_file).values()) & set(before.values())


TUNING = str(runs.CONFIGS / 'demo/encoder-tuning_vit-tiny_4e_fashion-mnist.py')
LINEAR = str(runs.CONFIGS / 'demo/vit-tiny-linear_16e_fashion-mnist.py')


def test_the_hash_follows_a_second_training(study_file):
    before, text = hashes(study_file), study_file.read_text()
    second = text.replace("adv_share=0.25']", f"adv_share=0.25'], then=dict(config={TUNING!r}, options=['model.a=1'])")
    found = []
    for changed in (second, second.replace('model.a=1', 'model.a=2')):
        study_file.write_text(changed)
        assert read_study(study_file).methods['fast'].then.config.name == 'encoder-tuning_vit-tiny_4e_fashion-mnist.py'
        found.append(hashes(study_file))
    assert all(each['exact-seed0'] == before['exact-seed0'] for each in found)
    assert len({each['fast-seed0'] for each in (before, *found)}) == 3


def test_the_hash_follows_all_evaluations(study_file):
    text = study_file.read_text()
    tuning = f"other_tunings = {{'linear': dict(config={LINEAR!r}, suites=['demo'], only=['pgd/8'])}}"
    others = [
        text.replace('options=_small)\n', "options=_small, suites=['demo', 'encoder'])\n"),
        text.replace('options=_small)\n', "options=_small, only=['pgd/8'])\n"),
        f'{text}{tuning}\n',
        f'{text}{tuning}\n'.replace('pgd/8', 'pgd/2'),
        f'{text}{tuning}\n'.replace('suites', "domain='adv', suites"),
        f"{text}pretrained = dict(suites=['encoder'])\n",
        f"{text}pretrained = dict(suites=['encoder'], epochs=[1])\n",
        f"{text}pretrained = dict(suites=['encoder'], images=3)\n",
        text.replace('fine_tuning = dict(', 'fine_tuning = None and dict('),
    ]
    assert len(set(others)) == 9 and text not in others
    found = set()
    for changed in (text, *others):
        study_file.write_text(changed)
        found |= set(hashes(study_file).values())
    assert len(found) == 2 * 10, 'two methods'
    found = [hashes(study_file)]
    for same in (
        text.replace('options=_small)\n', "options=_small, suites=['demo'])\n"),
        f'{text}other_tunings = {{}}\nmargin = 2\n',
    ):
        study_file.write_text(same)
        study = read_study(study_file)
        found.append(hashes(study_file))
    assert found[1] == found[2] and study.margin == 2


def test_a_fine_tuning_of_some_methods_only(study_file):
    text, before = study_file.read_text(), hashes(study_file)
    study_file.write_text(f"{text}other_tunings = dict(linear=dict(config={LINEAR!r}, methods=['fast']))\n")
    after, study = hashes(study_file), read_study(study_file)
    assert {name: list(study.tunings_of(name)) for name in study.methods} == dict(exact=[''], fast=['', 'linear'])
    assert after['exact-seed0'] == before['exact-seed0'] and after['fast-seed0'] != before['fast-seed0']


def test_a_method_may_change_its_fine_tuning(study_file):
    text, before = study_file.read_text(), hashes(study_file)
    change = 'optim_wrapper.optimizer.lr=0.1'
    study_file.write_text(f"{text}methods['fast']['fine_tuning_options'] = [{change!r}]\n")
    after, study = hashes(study_file), read_study(study_file)
    changed = {name: change in study.tunings_of(name)[''].options for name in study.methods}
    assert changed == dict(exact=False, fast=True)
    assert {name for name in after if after[name] != before[name]} == {'fast-seed0', 'fast-seed1'}


def test_a_method_with_fewer_seeds(study_file):
    text, before = study_file.read_text(), hashes(study_file)
    study_file.write_text(f"{text}methods['fast']['seeds'] = [1]\n")
    assert list(hashes(study_file).items()) == [item for item in before.items() if item[0] != 'fast-seed0']


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("primary = 'linear'", '', 'but .*some.py differs in primary'),
        ("primary = 'linear'", 'primary = 3', 'Unknown measure 3. Known: corrupted, '),
        ("primary = 'linear'", "primary = 'loss'", "Unknown measure 'loss'. Known: corrupted, "),
        ('options=_small)\n', "options=_small, suites='demo')\n", "suites of the fine_tuning of .* got 'demo'"),
        ("['model.adv_share=0.25']", "'model.adv_share=0.25'", 'options of the method fast of .* is a list'),
        ('options=_small)\n', "options=_small, suites=['all'])\n", "Unknown suite 'all'. Known: autoattack, "),
        ("primary = 'linear'", "primary = 'linear'\npretrained = dict(suites=['demo'])", "Unknown suite 'demo'"),
        ("'fast': ", "'epoch-1': ", "but got 'epoch-1'"),
        (
            "primary = 'linear'",
            "primary = 'linear'\npretrained = dict(epochs=[0])",
            'an epoch of pretrained is a whole',
        ),
        ("'fast': ", "'fast/er': ", "are made of letters, digits.*, but got 'fast/er'"),
        (
            "primary = 'linear'",
            "primary = 'linear'\nother_tunings = dict(pretrained=fine_tuning)",
            "but got 'pretrained'",
        ),
        (
            "primary = 'linear'",
            "primary = 'linear'\nother_tunings = dict(other=dict(**fine_tuning, methods=['gone']))",
            "Unknown method 'gone'. Known: exact, fast.",
        ),
        (
            "primary = 'linear'",
            "primary = 'linear'\nother_tunings = dict(other=dict(**fine_tuning, domain='robust'))",
            "Unknown domain 'robust'. Known: adv, clean.",
        ),
        (
            "primary = 'linear'",
            "primary = 'linear'\npretrained = dict(images=-1)",
            'images of the pretrained is a whole number',
        ),
        ("primary = 'linear'", "primary = 'linear'\nmargin = 0", 'margin of .* is a number > 0, in the unit of'),
        ("baseline = 'exact'", "baseline = 'gone'", "Unknown method 'gone'. Known: exact, fast."),
        ("baseline = 'exact'", "baseline = 'exact'\nepochs = 3", 'differs in epochs'),
        ('seeds = [0, 1]', 'seeds = [0, 0]', r'seeds of .* are different whole numbers >= 0, but got \[0, 0\]'),
        ('seeds = [0, 1]', 'seeds = 8', 'seeds of .*some.py is a list, but got 8'),
        ('seeds = [0, 1]', 'seeds = [-1]', r'but got \[-1\]'),
        ("primary = 'linear'", "primary = 'linear'\nmethods['fast']['seeds'] = [2]", r'some of \[0, 1\], .* got \[2\]'),
        ('attacked_images = 20', 'attacked_images = 0', 'attacked_images is a whole number'),
        ('methods = {', "methods = {'odd': dict(options=[]),", 'The method odd of .* has the fields config'),
        ('methods = {', "methods = {'odd': dict(config='a.py', then={}),", 'The second training of method odd of'),
        ('fine_tuning = dict(', 'fine_tuning = dict(then={}, ', 'The fine_tuning of .* has the fields config'),
    ],
)
def test_a_wrong_study_is_refused(study_file, old, new, message):
    study_file.write_text(study_file.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        read_study(study_file)
    with pytest.raises(UserError, match='There is no study gone.py'):
        read_study('gone.py')
