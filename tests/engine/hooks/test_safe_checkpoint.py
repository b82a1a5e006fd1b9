"""SafeCheckpointHook: which files remain, the order of writing and removing, and that mmengine reads the files."""

import functools
import itertools
import os

import pytest
import torch
from helpers import processes
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import Runner

from aemim_mm.checkpoints import files as checkpoint_files
from aemim_mm.engine.resumption import make_resumable, set_timeout
from aemim_mm.errors import UserError

_numbers = itertools.count()


class OneWeight(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode='loss'):
        return dict(loss=(self.weight - torch.rand(1)).square().sum())


class Score(Hook):
    """A validation that returns these scores, one for each epoch."""

    def __init__(self, scores):
        self.scores = scores

    def after_train_epoch(self, runner):
        runner.train_loop._epoch += 1
        (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == 'SafeCheckpointHook')
        hook.after_val_epoch(runner, dict(acc=self.scores[runner.epoch - 1]))
        runner.train_loop._epoch -= 1

    priority = 'LOWEST'


def runner(work_dir, *, epochs=3, hooks=(), resume=False, optim_wrapper=None, loop='ResumableEpochLoop', **checkpoint):
    return Runner(
        OneWeight(),
        str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=torch.utils.data.TensorDataset(torch.zeros(8)),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=lambda items: dict(inputs=torch.stack([item for (item,) in items])),
        ),
        train_cfg=dict(type=loop, max_epochs=epochs),
        optim_wrapper=optim_wrapper or dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', **checkpoint)),
        custom_hooks=list(hooks),
        resume=resume,
        randomness=dict(seed=0),
        experiment_name=f'safe{next(_numbers)}',
    )


def files(folder):
    return sorted(name for name in os.listdir(folder) if '.pth' in name)


def pairs(*names):
    return sorted([*names, *(f'{name}.sha256' for name in names)])


def test_old_ones_go_with_their_checksums(tmp_path):
    runner(tmp_path, epochs=4, interval=1, max_keep_ckpts=2).train()
    assert files(tmp_path) == pairs('epoch_3.pth', 'epoch_4.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == f'{tmp_path}/epoch_4.pth'


def test_an_old_one_goes_only_when_the_new_one_is_there_and_named(tmp_path, monkeypatch):
    events, replace, remove = [], os.replace, os.remove
    monkeypatch.setattr(os, 'replace', lambda a, b: (events.append(f'+{os.path.basename(b)}'), replace(a, b)))
    monkeypatch.setattr(os, 'remove', lambda a: (remove(a), events.append(f'-{os.path.basename(a)}')))
    runner(tmp_path, epochs=2, interval=1, max_keep_ckpts=1).train()
    new = ['+epoch_{}.pth', '+epoch_{}.pth.sha256', '+last_checkpoint']
    old = ['-epoch_1.pth', '-epoch_1.pth.sha256']
    assert events == [*(name.format(1) for name in new), *(name.format(2) for name in new), *old]


def test_the_best_one_goes_only_when_a_better_one_is_there(tmp_path, monkeypatch):
    settings = dict(hooks=[Score([1, 2])], epochs=2, save_best='acc', rule='greater', interval=1, max_keep_ckpts=1)
    write = checkpoint_files.write_whole

    def full(path, content, checksum=False):
        if 'best_acc_epoch_2' in path:
            raise UserError('full')
        write(path, content, checksum)

    monkeypatch.setattr(checkpoint_files, 'write_whole', full)
    with pytest.raises(UserError, match='full'):
        runner(tmp_path / 'full', **settings).train()
    assert 'best_acc_epoch_1.pth' in files(tmp_path / 'full')
    monkeypatch.undo()
    runner(tmp_path / 'enough', **settings).train()
    assert files(tmp_path / 'enough') == pairs('best_acc_epoch_2.pth', 'epoch_2.pth')


def best_does_not_fit(rank, folder):
    write = checkpoint_files.write_whole

    def full(path, content, checksum=False):
        if 'best_acc_epoch_2' in path:
            raise UserError('full')
        write(path, content, checksum)

    checkpoint_files.write_whole = full
    training = runner(folder, hooks=[Score([1, 2])], epochs=2, save_best='acc', rule='greater', interval=1)
    with pytest.raises(UserError, match='full') as error:
        training.train()
    assert error.value.everywhere
    # In torch 2.1, an unfinished all-reduce would block the end of the group.
    (hook,) = (hook for hook in training.hooks if type(hook).__name__ == 'SafeCheckpointHook')
    hook.stop.close()


def test_a_best_one_that_cannot_be_saved_is_an_error_on_all_ranks(tmp_path):
    """Only the first rank saves the best checkpoint. If it fails, the others must not save the latest one again."""
    processes.on_ranks(best_does_not_fit, str(tmp_path))
    assert files(tmp_path) == pairs('best_acc_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth')


def test_mmengines_own_hook_and_loop_resume_from_it(tmp_path):
    runner(tmp_path, epochs=2, interval=1).train()
    cfg = dict(type='CheckpointHook')
    stock = runner(tmp_path, epochs=3, resume=True, loop='EpochBasedTrainLoop')
    stock._hooks = [hook for hook in stock.hooks if type(hook).__name__ != 'SafeCheckpointHook']
    stock.register_hook(cfg)
    stock.train()
    assert stock.iter == 12 and torch.load(tmp_path / 'epoch_3.pth', weights_only=False)['meta']['epoch'] == 3


def test_a_checkpoint_of_mmengines_own_hook_is_resumed(tmp_path):
    stock = runner(tmp_path, epochs=1, loop='EpochBasedTrainLoop')
    stock._hooks = [hook for hook in stock.hooks if type(hook).__name__ != 'SafeCheckpointHook']
    stock.register_hook(dict(type='CheckpointHook', interval=1))
    stock.train()
    resumed = runner(tmp_path, epochs=2, resume=True)
    resumed.train()
    assert resumed.iter == 8


def test_a_storage_of_ones_own_is_left_alone(tmp_path):
    runner(tmp_path, epochs=1, interval=1, backend_args=dict(backend='local')).train()
    assert files(tmp_path) == ['epoch_1.pth']


@pytest.mark.skipif(torch.__version__ < '2.3', reason='loss scaling on a CPU came with torch 2.3')
def test_the_loss_scaler_goes_on_where_it_was(tmp_path, monkeypatch):
    """A loss scaler that doubles its scale every third iteration."""
    scaler = functools.partial(torch.amp.GradScaler, 'cpu', init_scale=2.0, growth_interval=3)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', scaler)
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    wrapper = dict(type=AmpOptimWrapper, optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    whole = runner(tmp_path / 'whole', epochs=4, interval=1, optim_wrapper=wrapper)
    whole.train()
    resumed = runner(tmp_path / 'whole', epochs=4, optim_wrapper=wrapper, resume=True)
    resumed._load_from = str(tmp_path / 'whole/epoch_2.pth')
    resumed.train()
    assert whole.optim_wrapper.loss_scaler.get_scale() == 2.0 * 2**5
    assert resumed.optim_wrapper.loss_scaler.state_dict() == whole.optim_wrapper.loss_scaler.state_dict()
    assert torch.equal(resumed.model.weight, whole.model.weight)


class TestConfig:
    def test_any_config_is_made_resumable_but_for_parts_of_its_own(self):
        from mmengine.config import Config

        def made(**cfg):
            cfg = Config(cfg)
            make_resumable(cfg)
            set_timeout(cfg)
            return cfg

        cfg = made(
            train_cfg=dict(by_epoch=True, max_epochs=3), default_hooks=dict(checkpoint=dict(type='CheckpointHook'))
        )
        assert cfg.train_cfg == dict(type='ResumableEpochLoop', max_epochs=3)
        assert cfg.default_hooks.checkpoint.type == 'SafeCheckpointHook' and cfg.env_cfg.dist_cfg.timeout == 600
        assert made(train_cfg=dict(by_epoch=False, max_iters=3)).train_cfg.type == 'ResumableIterLoop'
        assert made(train_cfg=dict(type='Mine')).train_cfg.type == 'Mine'
        cfg = made(
            train_cfg=dict(by_epoch=True, max_epochs=3), exact_resume=False, env_cfg=dict(dist_cfg=dict(timeout=5))
        )
        assert cfg.train_cfg == dict(by_epoch=True, max_epochs=3) and cfg.env_cfg.dist_cfg.timeout == 5
        with pytest.raises(UserError, match="in seconds, > 0, but got 'soon'"):
            made(env_cfg=dict(dist_cfg=dict(timeout='soon')))
