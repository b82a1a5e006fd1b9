"""From a pre-training checkpoint to a classifier: fine-tuning, linear probing and nearest neighbours, by the tools."""

import pickle
import re
from unittest import mock

import pytest
import torch
from helpers import faults, runs
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.registry import MODELS
from PIL import Image

from aemim_mm.datasets.of_config import labelled_data
from aemim_mm.errors import UserError
from aemim_mm.evaluation.probe import KNN, extract_features, knn_accuracy

DEMO = runs.CONFIGS / 'demo'
FINETUNE, SCRATCH = DEMO / 'vit-tiny_16e_fashion-mnist.py', DEMO / 'vit-tiny-scratch_16e_fashion-mnist.py'
LINEAR, NEIGHBOURS = DEMO / 'vit-tiny-linear_16e_fashion-mnist.py', DEMO / 'vit-tiny_knn_fashion-mnist.py'
SMALL = (
    'model.backbone.arch.num_layers=2',
    'train_dataloader.dataset.limit=64',
    'train_dataloader.batch_size=16',
    'val_dataloader.dataset.limit=40',
    'test_dataloader.dataset.limit=40',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1',
)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """A checkpoint of AEMIM whose domains have parted, made by the real Runner."""
    work_dir = tmp_path_factory.mktemp('pretrained')
    runs.train(runs.AEMIM, work_dir)
    state = runs.weights(work_dir / 'epoch_1.pth')
    assert not torch.equal(state['backbone.cls_token'], state['backbone.cls_token_adv'])
    return work_dir / 'epoch_1.pth'


def transfer(config, work_dir, checkpoint, *argv, options=(), **kwargs):
    start = [f'model.backbone.init_cfg.checkpoint={checkpoint}'] if checkpoint else []
    start += ['model.backbone.frozen_stages=2'] if config is LINEAR else []
    runs.train(config, work_dir, *argv, options=[*start, 'train_cfg.val_interval=1', *options], shrunk=SMALL, **kwargs)


def at_the_start(config, work_dir, checkpoint, *argv, **kwargs):
    """The Runner when its training begins: weights loaded, learning rates scaled."""
    begun = []
    with mock.patch.object(EpochBasedTrainLoop, 'run', lambda loop: begun.append(loop.runner)):
        transfer(config, work_dir, checkpoint, *argv, **kwargs)
    return begun[0]


@pytest.fixture(scope='module')
def finetuned(pretrained, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('finetuned')
    transfer(FINETUNE, work_dir, pretrained, options=['train_cfg.max_epochs=2'])
    return work_dir


def test_fine_tuning_begins_with_the_clean_encoder_of_the_checkpoint(pretrained, tmp_path):
    runner = at_the_start(FINETUNE, tmp_path, pretrained)
    state, backbone = runs.weights(pretrained), runner.model.backbone.state_dict()
    shared = {name for name in backbone if f'backbone.{name}' in state}
    assert backbone.keys() - shared == {'ln2.weight', 'ln2.bias'}, 'the norm after pooling, which MAE lacks'
    assert {'cls_token', 'pos_embed', 'patch_embed.projection.weight', 'layers.1.ffn.layers.1.bias'} <= shared
    for name in shared:
        assert torch.equal(backbone[name], state[f'backbone.{name}']), name
    assert any(name.endswith('_adv') for name in state)
    assert not any('_adv' in name for name, _ in runner.model.named_parameters())
    assert re.search(rf'backbone is loaded from {pretrained}: \d+ tensors fit', runs.log_of(tmp_path))


def test_fine_tuning_trains_every_layer_and_tests(finetuned, pretrained):
    before, after = runs.weights(pretrained), runs.weights(finetuned / 'epoch_2.pth')
    assert not any('_adv' in name for name in after)
    for name, value in before.items():
        if name.startswith('backbone.') and name in after:
            assert not torch.equal(value, after[name]), name
    assert len(re.findall(r'accuracy/top1: (\d+\.\d+)', runs.log_of(finetuned))) == 2
    losses = [row['loss'] for row in runs.scalars(finetuned)]
    assert losses[-1] < losses[0]


def test_a_fine_tuned_checkpoint_is_tested_without_the_one_it_came_from(finetuned, tmp_path):
    runs.test(FINETUNE, finetuned / 'epoch_2.pth', tmp_path, options=SMALL)
    tested = re.findall(r'accuracy/top1: (\d+\.\d+)', runs.log_of(tmp_path))
    assert tested == re.findall(r'accuracy/top1: (\d+\.\d+)', runs.log_of(finetuned))[-1:]


def test_from_scratch_differs_in_the_start_and_the_learning_rates_alone():
    ours, scratch = Config.fromfile(FINETUNE).to_dict(), Config.fromfile(SCRATCH).to_dict()
    assert ours['model']['backbone'].pop('init_cfg') and scratch['model']['backbone'].pop('init_cfg') is None
    assert ours['optim_wrapper']['paramwise_cfg'].pop('layer_decay_rate') < 1
    assert scratch['optim_wrapper']['paramwise_cfg'].pop('layer_decay_rate') == 1
    assert ours['optim_wrapper']['optimizer'].pop('lr') and scratch['optim_wrapper']['optimizer'].pop('lr')
    assert ours == scratch


def test_a_linear_probe_leaves_the_encoder_as_it_was_to_the_bit(pretrained, tmp_path):
    options = ['train_cfg.max_epochs=2', 'optim_wrapper.optimizer.weight_decay=0.1']
    transfer(LINEAR, tmp_path, pretrained, options=options)
    before, after = runs.weights(pretrained), runs.weights(tmp_path / 'epoch_2.pth')
    encoder = [name for name in after if name.startswith('backbone.') and 'backbone.ln2' not in name]
    assert len(encoder) > 20
    for name in encoder:
        assert torch.equal(after[name], before[name]), name
    assert (after['backbone.ln2.weight'] == 1).all() and (after['backbone.ln2.bias'] == 0).all()
    assert after['neck.bn.num_batches_tracked'] == 8 and after['head.fc.bias'].abs().max() > 0


def test_nearest_neighbours_by_the_tool_equal_those_of_the_probe(pretrained, tmp_path):
    out = tmp_path / 'out.pkl'
    runs.test(NEIGHBOURS, pretrained, tmp_path, '--out', out, options=[*SMALL, 'model.k=5'])
    model = pretraining_model(pretrained)
    train, test = (
        extract_features(model, torch.utils.data.Subset(labelled_data(runs.AEMIM, split), range(count)))
        for split, count in (('train', 64), ('test', 40))
    )
    (shown,) = re.findall(r'accuracy/top1: (\d+\.\d+)', runs.log_of(tmp_path))
    assert float(shown) == pytest.approx(knn_accuracy(train, test, k=5), abs=1e-3)
    scores = torch.stack([sample['pred_score'] for sample in pickle.loads(out.read_bytes())])
    torch.testing.assert_close(scores, KNN(*train, k=5).scores(test[0]), atol=1e-4, rtol=0)
    assert 10 < float(shown) < 100


@pytest.mark.slow
def test_two_processes_have_the_same_neighbours_as_one(pretrained, tmp_path):
    """With 41 training images, one process gets an image twice, which must not vote twice."""
    options = [*SMALL, 'model.k=5', 'train_dataloader.dataset.limit=41', 'test_dataloader.batch_size=8']
    runs.test(NEIGHBOURS, pretrained, tmp_path / 'one', options=options)
    argv = [NEIGHBOURS, pretrained, '--launcher', 'pytorch', '--work-dir', tmp_path / 'two']
    argv = [str(word) for word in (*argv, '--out', tmp_path / 'two.pkl', '--cfg-options', *options)]

    def start(RANK, **environment):
        environment['RANK'] = RANK
        return faults.Process(tmp_path / f'{RANK}.txt', faults.run_tool, 'test.py', argv, environment)

    for process in faults.on_two(start):
        assert process.wait() == 0, process.output()
    one, two = (re.findall(r'accuracy/top1: (\d+\.\d+)', runs.log_of(tmp_path / name)) for name in ('one', 'two'))
    assert one == two and len(one) == 1
    assert len(pickle.loads((tmp_path / 'two.pkl').read_bytes())) == 40


def pretraining_model(checkpoint):
    config = Config.fromfile(runs.AEMIM).model
    config.backbone.arch.num_layers, config.neck.decoder_depth = 2, 1
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config)
    model.load_state_dict(runs.weights(checkpoint))
    return model


def test_scaled_rates_through_the_runner(pretrained, tmp_path):
    """Batches of 16 for 50: every rate is 0.32 of the recipe's."""
    plain, scaled = (
        {group['param_name']: group['initial_lr'] for group in start.optim_wrapper.optimizer.param_groups}
        for start in (
            at_the_start(FINETUNE, tmp_path / 'plain', pretrained),
            at_the_start(FINETUNE, tmp_path / 'scaled', pretrained, '--auto-scale-lr'),
        )
    )
    cfg = Config.fromfile(FINETUNE)
    peak, decay = cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.paramwise_cfg.layer_decay_rate
    depths = {'pos_embed': 3, 'patch_embed.projection.weight': 3, 'layers.0.ln1.bias': 2, 'layers.1.attn.qkv.weight': 1}
    depths = {**{f'backbone.{name}': depth for name, depth in depths.items()}, 'head.fc.bias': 0}
    assert plain.keys() == scaled.keys() >= depths.keys()
    for name, depth in depths.items():
        assert plain[name] == pytest.approx(peak * decay**depth), name
    for name, rate in plain.items():
        assert scaled[name] == pytest.approx(0.32 * rate), name


@pytest.mark.parametrize(
    ('config', 'words'),
    [(FINETUNE, 'There is no checkpoint'), (LINEAR, 'There is no checkpoint'), (NEIGHBOURS, 'nothing to train')],
)
def test_what_cannot_be_trained_is_one_clear_error(config, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        transfer(config, tmp_path, tmp_path / 'gone.pth' if config is not NEIGHBOURS else None)
    error = capsys.readouterr().err
    assert end.value.code == 2 and words in error and error.count('error:') == 1


def test_neighbours_without_training_images_are_one_clear_error(pretrained, tmp_path, capsys):
    options = [*SMALL, f'train_dataloader.dataset.data_root={tmp_path}']
    with pytest.raises(SystemExit) as end:
        runs.test(NEIGHBOURS, pretrained, tmp_path / 'work', options=options)
    error = capsys.readouterr().err
    assert end.value.code == 2 and 'Fashion-MNIST is incomplete' in error and error.count('error:') == 1


def test_too_few_neighbours_is_one_clear_error():
    with pytest.raises(UserError, match='from 1 to the number of training images, 4, but got 5'):
        KNN(torch.rand(4, 3), torch.arange(4), k=5)


OWN = """
_base_ = './my_classes.py'
arch = dict(_delete_=True, embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
model = dict(backbone=dict(arch=arch, init_cfg=None), head=dict(in_channels=32))
train_dataloader = dict(batch_size=4, num_workers=0)
val_dataloader = dict(num_workers=0)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
"""


def test_the_documented_config_for_ones_own_folder_trains(tmp_path):
    document = (runs.REPO / 'docs/transfer.md').read_text()
    (code,) = re.findall(r'```python\n# my_classes.py\n(.*?)```', document, re.DOTALL)
    (tmp_path / 'my_classes.py').write_text(code.replace("'configs/", f"'{runs.CONFIGS}/"))
    (tmp_path / 'small.py').write_text(OWN)
    for number in range(12):
        for split in ('train', 'val'):
            folder = tmp_path / f'data/{split}/class{number:02}'
            folder.mkdir(parents=True)
            Image.new('RGB', (40, 30), (20 * number, 100, 0)).save(folder / 'a.png')
    runs.train(tmp_path / 'small.py', tmp_path / 'work', '--data-root', tmp_path / 'data', '--auto-scale-lr', shrunk=())
    assert re.search(r'Epoch\(val\) \[1\]\[1/1\] +accuracy/top1: \d', runs.log_of(tmp_path / 'work'))
    assert runs.weights(tmp_path / 'work/epoch_1.pth')['head.fc.weight'].shape == (12, 32)
