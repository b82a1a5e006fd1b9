"""Changes of a config from the command line, and the options that the documentation recommends."""

import functools
import re
from copy import deepcopy

import pytest
from helpers import runs
from mmengine.registry import HOOKS, LOOPS, OPTIM_WRAPPERS, OPTIMIZERS, WEIGHT_INITIALIZERS
from mmpretrain.registry import DATASETS, MODELS

from aemim_mm.errors import UserError
from aemim_mm.launch import load_config
from aemim_mm.launch.config_errors import arguments_of
from aemim_mm.launch.options import merge_options, parse_value

IMAGENET = runs.CONFIGS / 'aemim_vit-b_800e.py'


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('my run/epoch_1.pth', 'my run/epoch_1.pth'),
        ('/My Projects, new/epoch_1.pth', '/My Projects, new/epoch_1.pth'),
        ('"a, b.pth"', 'a, b.pth'),
        ("'8'", '8'),
        ('8', 8),
        ('1e-4', 1e-4),
        ('None', None),
        ('false', False),
        ('1,2', [1, 2]),
        ('[hot dog, cat]', ['hot dog', 'cat']),
        ('dict(type=lora, rank=8, targets=(qkv,fc1))', dict(type='lora', rank=8, targets=('qkv', 'fc1'))),
        ('[norm,dict(layers=dict(last=4))]', ['norm', dict(layers=dict(last=4))]),
        ('dict()', {}),
        ('f(a,b)', 'f(a,b)'),
        ('[(1, 2), [a, b], c]', [(1, 2), ['a', 'b'], 'c']),
        ('(norm,cls_token)', ('norm', 'cls_token')),
        ('()', ()),
        ('a=b', 'a=b'),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


def test_commas_belong_to_a_path_and_to_a_text():
    cfg = load_config(IMAGENET, options=['load_from=a,b.pth', 'model.head.type=a,b', 'model.backbone.out_indices=1,2'])
    assert cfg.load_from == 'a,b.pth' and cfg.model.head.type == 'a,b' and cfg.model.backbone.out_indices == [1, 2]


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('modle.adv_weight=1', 'no field modle, and nothing reads it. Did you mean model?'),
        ('model.adv_weight', 'takes KEY=VALUE, as in model.adv_weight=0.5, but got model.adv_weight.'),
        ('model.backbone.adapters=[(norm]', 'not balanced'),
        ('custom_hooks.7.type=PanelHook', 'Index 7 exceeds the length'),
        ('log_level.x=1', 'does not fit the config'),
    ],
)
def test_an_option_that_does_not_fit_is_one_clear_error(option, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_config(IMAGENET, options=[option])


@pytest.mark.parametrize('config', [IMAGENET, runs.AEMIM])
@pytest.mark.parametrize('spelling', ['data_preprocessor', 'model.data_preprocessor'])
def test_both_spellings_of_the_data_preprocessor_mean_the_same(config, spelling):
    before = load_config(config).model.data_preprocessor
    cfg = load_config(config, options=[f'{spelling}.eps=4', f'{spelling}.type=AdvDataPreprocessor'])
    assert cfg.model.data_preprocessor == dict(before, eps=4) and 'data_preprocessor' not in cfg


def test_a_config_with_both_spellings(tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(f'_base_ = {str(IMAGENET)!r}\nmodel = dict(data_preprocessor=dict(start="zero", steps=2))\n')
    both = load_config(own).model.data_preprocessor
    assert both.start == 'zero' and both.mean == load_config(IMAGENET).model.data_preprocessor.mean
    own.write_text(own.read_text().replace('steps=2', 'steps=3'))
    with pytest.raises(UserError, match='has data_preprocessor.steps=2 and model.data_preprocessor.steps=3'):
        load_config(own)


@pytest.mark.parametrize('scope', ['aemim_vit-b_folder.py', 'benchmarks/coco/mask-rcnn_vitdet-b_1x_coco.py'])
def test_a_loader_without_workers(scope):
    pytest.importorskip('mmdet') if 'coco' in scope else None
    options = ['train_dataloader.num_workers=0', 'train_dataloader.prefetch_factor=4', 'train_dataloader.timeout=9']
    loader = load_config(runs.CONFIGS / scope, options=options).train_dataloader
    assert not {'persistent_workers', 'prefetch_factor', 'timeout'} & set(loader)


def test_settings_that_mmengine_reads_outside_the_runners_arguments():
    cfg = load_config(IMAGENET, options=['env_cfg.dist_cfg=None', 'model_wrapper_cfg.type=a', 'sync_bn=torch'])
    assert cfg.env_cfg.dist_cfg.backend == 'nccl' and cfg.model_wrapper_cfg.type == 'a' and cfg.sync_bn == 'torch'


ANYWHERE = ('aemim_vit-b_800e', 'benchmarks/coco/mask-rcnn_vitdet-b_1x_coco', 'benchmarks/in1k/vit-base-p16_knn_in1k')
ANYWHERE += ('demo/vit-tiny-pgd-at_16e_fashion-mnist',)


def documented_options():
    """Yield the options that pages, docstrings, --help texts and messages name, and the configs they are named for."""
    pages = [runs.REPO / 'README.md', *runs.REPO.glob('docs/*.md')]
    pages += [page for folder in ('configs', 'tools', 'aemim_mm') for page in (runs.REPO / folder).rglob('*.py')]
    for page in pages:
        for line in page.read_text(encoding='utf-8').replace('\\\n', ' ').splitlines():
            for text in re.findall(r'(?:--cfg-options|e\.g\.|change the config:)[ =`]+((?:[\w.]+=[^`]+))', line):
                named = re.search(r'configs/[\w/.-]+\.py', line)
                own = [page.relative_to(runs.REPO)] if page.is_relative_to(runs.CONFIGS) else []
                configs = [named[0]] if named else own or [f'configs/{name}.py' for name in ANYWHERE]
                options = re.findall(r'(?:^| )([a-z_]\w*(?:\.\w+)*=[\w./]*\w)(?![\w{])', text)
                if options:
                    yield tuple(map(str, configs)), tuple(options)


DOCUMENTED = sorted(set(documented_options()))


@functools.cache
def loaded(config):
    return load_config(runs.REPO / config)


def takes(config, options):
    """Whether the config, with these options, has fields that something reads."""
    cfg = deepcopy(loaded(config))
    try:
        merge_options(cfg, options)
    except UserError:
        return False
    for key in (option.split('=')[0] for option in options):
        *path, name = (f'model.{key}' if key.startswith('data_preprocessor') else key).split('.')
        owner = cfg
        for part in path:
            owner = owner[int(part)] if isinstance(owner, list) else owner[part]
        if 'type' in owner and name != 'type':
            registries = [MODELS, DATASETS, OPTIM_WRAPPERS, OPTIMIZERS, LOOPS, HOOKS, WEIGHT_INITIALIZERS]
            names = [owner.type, f'mmdet.{owner.type}']
            found = next(filter(None, (registry.get(each) for each in names for registry in registries)))
            if name not in arguments_of(found) | {'init_cfg'}:
                return False
    return True


def test_there_are_documented_options():
    assert len(DOCUMENTED) > 30


@pytest.mark.parametrize(('configs', 'options'), DOCUMENTED, ids=lambda words: ' '.join(words[-2:]))
def test_a_documented_option_is_read_by_the_config_it_is_named_for(configs, options):
    pytest.importorskip('mmdet')
    assert any(takes(config, options) for config in configs)


def test_an_undocumented_option_is_not():
    assert not takes('configs/aemim_vit-b_800e.py', ['model.adv_wait=1'])
    assert not takes('configs/aemim_vit-b_800e.py', ['data_preprocessor.epsilon=1'])
