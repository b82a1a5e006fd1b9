"""Every config builds, reads its data, is documented and listed. A baseline differs only in the method."""

import ast
import re
import shutil
import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from helpers import encoders, hosts, runs, tiny
from helpers.host_configs import shrink
from helpers.narrow import narrow
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from PIL import Image

from aemim_mm.datasets.of_config import check_data
from aemim_mm.errors import UserError
from aemim_mm.launch import load_config
from aemim_mm.models import AdversarialMIM
from aemim_mm.report.record import read_record

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')  # mmpretrain's BEiT calls it the old way.
# tests/det tests the configs for COCO, tests/study the studies.
NAMES = sorted(
    str(path.relative_to(runs.CONFIGS))
    for path in runs.CONFIGS.rglob('*.py')
    if not {'_base_', 'coco', 'studies'} & set(path.relative_to(runs.CONFIGS).parts)
)
TRANSFER = [name for name in NAMES if name.startswith(('benchmarks/in1k/', 'demo/vit-'))]
PRETRAINING = [name for name in NAMES if name not in TRANSFER]
KNN = [name for name in TRANSFER if '_knn_' in name]
ADVERSARIAL = [name for name in PRETRAINING if Path(name).name.startswith('ae')]
HOSTS = [name for name in ADVERSARIAL if name.startswith('hosts/')]
PAIRS = {
    'aemim_vit-b_800e.py': 'baselines/mae_vit-b_800e.py',
    'aemim-balanced_vit-b_800e.py': 'baselines/mae-balanced_vit-b_800e.py',
    'aemim-fast_vit-b_800e.py': 'baselines/mae-fast_vit-b_800e.py',
    'aemim-cross_vit-b_800e.py': 'baselines/mae-cross_vit-b_800e.py',
    'simmim/aesimmim_swin-b_800e.py': 'baselines/simmim_swin-b_800e.py',
    'simmim/aesimmim_vit-b_800e.py': 'baselines/simmim_vit-b_800e.py',
    'demo/aemim_vit-tiny_16e_fashion-mnist.py': 'demo/mae_vit-tiny_16e_fashion-mnist.py',
    'demo/aemim_vit-tiny_16e_openclipart.py': 'demo/mae_vit-tiny_16e_openclipart.py',
    'demo/aemim_vit-tiny_50e_folder.py': 'demo/mae_vit-tiny_50e_folder.py',
    **{name: name.replace('hosts/ae', 'baselines/') for name in HOSTS},
    'hosts/aemim_hivit-b_800e.py': 'baselines/mae_hivit-b_800e.py',
    **{
        f'demo/ae{name}_fashion-mnist.py': f'demo/{name}_fashion-mnist.py'
        for name in ('simmim_vit-tiny_16e', 'ibot_vit-tiny_32e', 'hpm_vit-tiny_16e', 'cim_vit-tiny_40e')
    },
    'hosts/aecim_vit-b_300e.py': 'baselines/cim-respix_vit-b_300e.py',
}
METAFILE = {model['Config']: model for model in yaml.safe_load((runs.CONFIGS / 'metafile.yml').read_text())['Models']}


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    """Set mmpretrain's scope, as the Runner does."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@cache
def read(name, data_root):
    return load_config(runs.CONFIGS / name, data_root=data_root)


def load(name, data_root=None):
    return deepcopy(read(name, data_root))


def build(cfg, clip=None):
    """Build the model of a config with one narrow layer. The demo's models are small already."""
    model = cfg.model
    if 'encoder' in model:
        return build_tuning(cfg)
    if 'host_parts' in cfg:
        model = shrink(Path(cfg.filename).name, model, clip)
    elif 'backbone' in model and isinstance(model.backbone.arch, str):
        narrow(model)
    if 'backbone' in model:
        model.backbone.init_cfg = None
    # The demo's tokenizer, which another config trains.
    model.get('target_generator', {}).get('tokenizer', {}).pop('init_cfg', None)
    torch.manual_seed(0)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **model})
    model.init_weights()
    model.train()
    return model


def build_tuning(cfg):
    """Build an ``AdversarialEncoderTuning`` of a narrow encoder with random weights."""
    size, patch, channels = (28, 7, 1) if '/demo/' in cfg.filename else (224, 16, 3)
    config = tiny.aemim_of_size(size, patch, channels, backbone=dict(arch=encoders.ARCH), neck=dict(embed_dim=48))
    with tempfile.TemporaryDirectory() as folder:
        cfg.model.encoder = str(encoders.saved(tiny.build(config), config, Path(folder) / 'encoder.pth'))
        model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    model.train()
    return model


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    return hosts.write_clip(tmp_path_factory.mktemp('clip') / 'clip.pth', features=512, size=224)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Make four training and four test images in two folders.

    They serve as an ImageNet with image lists, as a plain folder and as data/openclipart.
    """
    root = tmp_path_factory.mktemp('imagenet')
    (root / 'meta').mkdir()
    for split in ('train', 'val'):
        (root / split / 'n01').mkdir(parents=True)
        (root / split / 'n02').mkdir()
        for number in range(4):
            coarse = np.random.default_rng(number).integers(0, 256, (7, 9, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((270, 210)).save(root / f'{split}/n0{1 + number % 2}/{number}.JPEG')
        lines = [f'n0{1 + number % 2}/{number}.JPEG {2 * number}\n' for number in range(4)]
        (root / f'meta/{split}.txt').write_text(''.join(lines))
    shutil.copytree(root / 'train', root / 'all')
    shutil.copytree(root / 'val', root / 'test')
    return root


def loader(cfg, name, batch_size=2):
    cfg[name].update(batch_size=batch_size, num_workers=0, persistent_workers=False, pin_memory=False)
    return Runner.build_dataloader(cfg[name], seed=0)


def size_of(name):
    sizes = {'fashion-mnist': 28, 'openclipart': 48, 'vit-tiny_50e_folder': 64, 'swin': 192}
    return next((size for part, size in sizes.items() if part in name), 224)


def root_of(name, images):
    """Return the folder of the images; None for the embedded data."""
    return None if 'fashion-mnist' in name else str(images)


@pytest.mark.parametrize('name', PRETRAINING)
def test_a_batch_through_the_whole_model_and_its_optimizer(name, images, clip):
    cfg = load(name, root_of(name, images))
    model = build(cfg, clip=clip)
    check_data(cfg, ('train_dataloader',))
    batch = next(iter(loader(cfg, 'train_dataloader')))
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    assert type(optim).__name__ == ('OptimWrapper' if name.startswith('demo/') else 'Bfloat16OptimWrapper')
    inputs = model.data_preprocessor(dict(batch), True)['inputs']
    assert (inputs[0] if isinstance(inputs, list) else inputs).shape[-2:] == (size_of(name),) * 2
    losses = model.train_step(batch, optim)
    expected = {'loss_clean', 'loss_adv'} if name in ADVERSARIAL else {'loss'}
    assert expected <= losses.keys() and torch.isfinite(losses['loss'])
    if name in ADVERSARIAL:
        assert losses['attack_gain'] > (1.2 if 'spark' in name else 1.5)
        cheaper = name.startswith(('aemim-balanced', 'aemim-fast'))
        budget = 16 if 'tiny_50e_folder' in name else 2, 1 if cheaper else 2
        assert (model.data_preprocessor.eps, model.data_preprocessor.steps) == budget
    share = {'balanced': 0.5, 'fast': 1 / 3, 'cross': 1 / 3}
    decodes = [share[preset] for preset in share if preset in name] or [1.0]
    neck = getattr(model, 'neck', None)
    assert getattr(neck, 'decoded_patches', None) is None or neck.decoded_patches.share == decodes[0]


def test_a_neck_of_another_width_does_not_fit_a_narrow_encoder():
    cfg = load('aemim_vit-b_800e.py')
    cfg.model.neck.embed_dim = 1024
    with pytest.raises(UserError, match='embed_dim: got 256, but model.backbone has 192'):
        build(cfg)


@pytest.mark.parametrize('name', [name for name in TRANSFER if name not in KNN])
def test_a_classifier_learns_from_a_batch_and_tests_another(name, images):
    cfg = load(name, root_of(name, images))
    model = build(cfg)
    check_data(cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'))
    batch = next(iter(loader(cfg, 'train_dataloader')))
    shown = model.data_preprocessor(deepcopy(batch), True)
    assert shown['inputs'].shape[-2:] == (size_of(name),) * 2
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    assert type(optim).__name__ == ('OptimWrapper' if name.startswith('demo/') else 'Bfloat16OptimWrapper')
    before = {label: value.clone() for label, value in model.named_parameters()}
    losses = model.train_step(batch, optim)
    chance = np.log(cfg.model.head.num_classes)
    assert losses['loss'].item() == pytest.approx(chance, rel=0.3)
    moved = {label for label, value in model.named_parameters() if not torch.equal(value, before[label])}
    frozen = {label for label in before if label.startswith('backbone.')} if 'linear' in name else set()
    assert moved and not moved & frozen and moved | frozen >= {label for label in before if 'weight' in label}
    tested = evaluated(model, cfg, 'val_dataloader')
    assert tested == evaluated(model, cfg, 'test_dataloader') and 0 <= tested['accuracy/top1'] <= 100


def evaluated(model, cfg, name):
    """Evaluate one batch of four images."""
    batch = next(iter(loader(cfg, name, batch_size=4)))
    evaluator = Evaluator(cfg.val_evaluator)
    model.eval()
    with torch.no_grad():
        evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    return evaluator.evaluate(4)


@pytest.mark.parametrize('name', KNN)
def test_nearest_neighbours_know_images_that_they_have_seen(name, images):
    cfg = load(name, root_of(name, images))
    cfg.model.k = 1
    model = build(cfg)
    # All images in order and without augmentation, for training and test.
    assert plain(cfg.train_dataloader.dataset.pipeline) == plain(cfg.test_dataloader.dataset.pipeline)
    assert not cfg.train_dataloader.sampler.shuffle and not cfg.train_dataloader.get('drop_last')
    if 'fashion-mnist' in name:
        cfg.test_dataloader.dataset = cfg.train_dataloader.dataset = {**cfg.train_dataloader.dataset, 'limit': 8}
    model.remember(loader(cfg, 'train_dataloader'))
    cfg.val_evaluator = dict(type='Accuracy', topk=(1,))
    assert evaluated(model, cfg, 'test_dataloader') == {'accuracy/top1': 100}


@pytest.mark.parametrize('name', [name for name in NAMES if name not in KNN])
def test_the_schedule_builds_and_covers_the_training(name):
    cfg = load(name)
    model = torch.nn.Linear(1, 1)
    wrapper = {**cfg.optim_wrapper, 'paramwise_cfg': None, 'constructor': 'DefaultOptimWrapperConstructor'}
    holder = SimpleNamespace(optim_wrapper=build_optim_wrapper(model, wrapper), _train_loop=None, iter=0, epoch=0)
    epochs = cfg.train_cfg.max_epochs
    length = 2 if epochs > 4 else 100
    holder.train_loop = SimpleNamespace(max_epochs=epochs, max_iters=epochs * length)
    holder.train_dataloader = [0] * length
    holder._build_param_scheduler = Runner._build_param_scheduler.__get__(holder)
    schedulers = Runner.build_param_scheduler(holder, cfg.param_scheduler)
    warmup, main = (scheduler for scheduler in schedulers if scheduler.param_name == 'lr')
    assert warmup.begin == 0 and warmup.end == main.begin and main.end == length * epochs
    rates = []
    for _ in range(main.end):
        holder.optim_wrapper.step()
        rates.append(holder.optim_wrapper.optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    peak = cfg.optim_wrapper.optimizer.lr
    assert max(rates) == pytest.approx(peak) and rates[0] < peak / 100 and rates[-1] < peak / 9
    assert abs(rates.index(max(rates)) - warmup.end) <= 1


@pytest.mark.parametrize('name', ADVERSARIAL)
def test_adversarial_adapters_decay_as_their_clean_twins(name, clip):
    cfg = load(name)
    model = build(cfg, clip=clip)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    of = {id(parameter): (group['weight_decay'], group['lr']) for group in groups for parameter in group['params']}
    names = {label: of[id(parameter)] for label, parameter in model.named_parameters() if parameter.requires_grad}
    adapters = [label for label in names if label.endswith('_adv')]
    assert len(adapters) >= 6
    for label in adapters:
        assert names[label] == names[label.removesuffix('_adv')], label
    assert {decay for decay, _ in names.values()} == {0.0, cfg.optim_wrapper.optimizer.weight_decay}
    if name in HOSTS:  # Recipes of mmpretrain, which differ.
        return
    # Norms, biases and tokens do not decay; the weights of linear layers and convolutions do.
    decayed = {label for label, (decay, _) in names.items() if decay > 0}
    exempt = {label for label, parameter in model.named_parameters() if parameter.ndim == 1 or 'token' in label}
    exempt |= {label for label in names if 'pos_embed' in label or 'bias_table' in label}
    if 'swin' in name:  # mmpretrain's recipe decays it.
        exempt.remove('backbone.mask_token')
    assert decayed and not decayed & exempt and decayed | exempt >= names.keys()


def plain(config, *without):
    """Convert to nested builtins, without the scopes that inheritance adds."""
    if isinstance(config, dict):
        return {key: plain(value, *without) for key, value in config.items() if key not in ('_scope_', *without)}
    return [plain(value, *without) for value in config] if isinstance(config, (list, tuple)) else config


@pytest.mark.parametrize(('name', 'baseline'), PAIRS.items())
def test_the_baseline_differs_in_the_method_alone(name, baseline):
    ours, theirs = (plain(Config.fromfile(runs.CONFIGS / path).to_dict()) for path in (name, baseline))
    for key in sorted({*ours, *theirs} - {'model', 'data_preprocessor', 'custom_hooks'}):
        assert ours.get(key) == theirs.get(key), key
    # Types of the components, fields that state their size, and the method's own.
    own = 'type', 'img_size', 'num_patches', 'adapters', 'adv_share', 'attack_layers'
    model, stock = (plain(config['model'], *own) for config in (ours, theirs))
    for config, parts in ((ours, model), (theirs, stock)):
        settings = config.get('data_preprocessor') or parts.pop('data_preprocessor')
        pixels = 'mean', 'std', 'to_rgb', 'second_mean', 'second_std'
        parts['pixels'] = {key: settings.get(key) for key in pixels}
        if config is theirs:  # Both copy the same fields to the device.
            assert list(settings['sample_fields']) == list(MODELS.get(ours['model']['type']).sample_fields)
    model.pop('data_preprocessor', None), stock.pop('data_preprocessor', None)
    for parts in (model, stock):
        parts['pixels'].pop('type', None)
    assert model == stock
    ours, theirs = (MODELS.get(config['model']['type']) for config in (ours, theirs))
    assert issubclass(ours, AdversarialMIM) and issubclass(ours, theirs) and not issubclass(theirs, AdversarialMIM)


def test_costs_of_a_step_are_counted_at_full_size():
    full = {Path(name).stem for name in PRETRAINING if not name.startswith(('demo/', 'encoder-tuning'))}
    assert set(read_record(runs.REPO / 'results/config_costs.json')['values']) == full


def test_epochs_and_sizes():
    configs = {name: load(name) for name in PRETRAINING}
    for name, cfg in configs.items():
        named = re.search(r'_(\d+)e[_.]', name)
        assert cfg.train_cfg.max_epochs == (int(named[1]) if named else 300), name
    large = configs['aemim_vit-l_800e.py'].model
    assert large.backbone.arch == 'l' and large.neck.embed_dim == 1024
    folder = configs['aemim_vit-b_folder.py']
    assert folder.train_dataloader.dataset.type == 'UnlabelledFolder' and not folder.resume
    assert 'split' not in folder.train_dataloader.dataset
    assert {hook.type for hook in folder.custom_hooks} == {'PanelHook', 'InstrumentsHook', 'UnreadableImagesHook'}


@pytest.mark.parametrize('name', NAMES)
def test_the_docstring_says_how_to_run_it(name):
    docstring = ast.get_docstring(ast.parse((runs.CONFIGS / name).read_text()))
    assert re.fullmatch(r'.+[.:]', docstring.splitlines()[0]) or name.startswith('demo/')
    (command,) = re.findall(r'^Run: +(.+)$', docstring, re.MULTILINE)
    assert f'configs/{name}' in command.split()
    for path in re.findall(r'(?:tools|configs)/\S+', docstring):
        assert (runs.REPO / path).is_file(), path
    if not name.startswith('demo/'):
        assert re.search(r'^Needs: +\S', docstring, re.MULTILINE)
        assert re.search(r'^Expected: +\S', docstring, re.MULTILINE)


def test_the_metafile_lists_all_and_nothing_else():
    assert sorted(path for path in METAFILE if '/coco/' not in path) == [f'configs/{name}' for name in NAMES]
    assert [model['Name'] for model in METAFILE.values()] == [path.split('/')[-1][:-3] for path in METAFILE]


@pytest.mark.parametrize('name', NAMES)
def test_the_metafile_says_what_the_config_does(name):
    listed, cfg = METAFILE[f'configs/{name}'], load(name)
    if name in KNN:
        assert not {'Epochs', 'Batch Size'} & listed['Metadata'].keys()
    else:
        assert listed['Metadata']['Epochs'] == cfg.train_cfg.max_epochs
        assert listed['Metadata']['Batch Size'] == cfg.auto_scale_lr.base_batch_size
        gpus = re.search(r'_(\d+)xb(\d+)', name)
        if gpus:
            assert int(gpus[1]) * int(gpus[2]) == cfg.auto_scale_lr.base_batch_size
            assert int(gpus[2]) == cfg.train_dataloader.batch_size
    transfers = name in TRANSFER or 'encoder-tuning' in name
    collection = 'AEMIM transfer' if transfers else 'AEMIM' if name in ADVERSARIAL else 'AEMIM baselines'
    assert listed['In Collection'] == collection
