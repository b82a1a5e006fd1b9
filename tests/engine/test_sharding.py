"""ZeRO-1 and FSDP on two processes equal DDP. What does not work is a clear error."""

import functools

import pytest
import torch
from helpers import faults, processes, runs, tiny
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.runner import FlexibleRunner

import aemim_mm  # noqa: F401  registers the models, in a spawned process too
from aemim_mm.checkpoints import files
from aemim_mm.engine.hooks import SafeCheckpointHook
from aemim_mm.engine.sharding import check_optimizer, check_strategy, drop_second_copy, gathered_state
from aemim_mm.errors import UserError

ZERO = ('optim_wrapper.optimizer.type=ZeroRedundancyOptimizer', 'optim_wrapper.optimizer.optimizer_type=AdamW')
WRAPPER = Config.fromfile(runs.AEMIM).optim_wrapper
SHARDED = tiny.merged(WRAPPER, dict(optimizer=dict(type='ZeroRedundancyOptimizer', optimizer_type='AdamW')))


def two(work_dir, *flags, options=()):
    """Run ``tools/train.py`` on two processes to the end; return the first one."""
    started = faults.two_processes(work_dir, *flags, options=options)
    for process in started:
        assert process.wait() == 0, process.output()
    return started[0]


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('plain')
    two(work_dir)
    return work_dir


@pytest.fixture(scope='module')
def zero(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('zero')
    two(work_dir, options=ZERO)
    return work_dir


def assert_same_training(path, expected) -> None:
    """Assert equality bit for bit.

    For a sharded optimizer, mmengine stores only the settings that the config gives, so only the learning rate is
    compared among the default settings.
    """
    got, wanted = (torch.load(file, map_location='cpu', weights_only=False) for file in (path, expected))
    noted = [part['optimizer'].pop('base_param_settings')['lr'] for part in (got, wanted)]
    assert noted[0] == noted[1]
    assert got['meta']['iter'] == wanted['meta']['iter'] and got['position'] == wanted['position']
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        faults._assert_same(got[part], wanted[part], part)


def test_zero_saves_what_plain_ddp_saves_bit_for_bit(plain, zero):
    """Weights, the state and the parameter groups of the optimizer, and the schedules are equal."""
    for epoch in (2, 3):
        assert_same_training(zero / f'epoch_{epoch}.pth', plain / f'epoch_{epoch}.pth')
        assert files.damage(str(zero / f'epoch_{epoch}.pth')) is None
    groups = torch.load(zero / 'epoch_3.pth', weights_only=False)['optimizer']['param_groups']
    assert {group['weight_decay'] for group in groups} == {0.0, 0.05}


@pytest.fixture(scope='module')
def unmerged(tmp_path_factory):
    """As before MergedOptimWrapperConstructor: each parameter is a group."""
    work_dir = tmp_path_factory.mktemp('unmerged')
    two(work_dir, options=['optim_wrapper.constructor=DefaultOptimWrapperConstructor'])
    return work_dir


@pytest.mark.parametrize(('saved_by', 'options'), [('zero', ZERO), ('plain', ZERO), ('unmerged', ZERO), ('zero', ())])
def test_zero_resumes_exactly_and_from_plain_and_back(saved_by, options, plain, request, tmp_path):
    work_dir = request.getfixturevalue(saved_by)
    resumed = two(tmp_path, '--resume', str(work_dir / 'epoch_2.pth'), options=options)
    assert 'resumed epoch: 2, iter: 8' in resumed.output()
    assert_same_training(tmp_path / 'epoch_3.pth', plain / 'epoch_3.pth')


def test_zero_stopped_by_sigterm_saves_all_shards(plain, tmp_path):
    first, second = faults.two_processes(tmp_path, options=ZERO)
    first.until('Epoch(train) [2][1/4]')
    second.process.terminate()
    assert [first.wait(), second.wait()] == [75, 75], first.output() + second.output()
    two(tmp_path, '--resume', options=ZERO)
    assert_same_training(tmp_path / 'epoch_3.pth', plain / 'epoch_3.pth')


def test_zero_on_a_full_disk_ends_all_ranks_with_one_line(tmp_path):
    first, second = faults.two_processes(tmp_path, options=[*ZERO, 'default_hooks.checkpoint.out_dir=/proc/1'])
    assert [first.wait(), second.wait()] == [2, 2], first.output() + second.output()
    assert 'could not be saved' in first.output().splitlines()[-1] and 'could not be saved' not in second.output()


def held(optimizer) -> int:
    """Count the elements of the optimizer's state in this process, a second copy included."""
    parts = {id(part): part.state for part in (optimizer, getattr(optimizer, 'optim', optimizer))}
    return sum(value.numel() for state in parts.values() for part in state.values() if part for value in part.values())


def shares(rank, folder):
    """Save the size of the state in this process: with DDP, with ZeRO-1, and with ZeRO-1 after loading."""
    kept = []
    for settings in (WRAPPER, SHARDED):
        model = MMDistributedDataParallel(module=tiny.build(tiny.aemim()))
        wrapper = build_optim_wrapper(model, tiny.merged(settings, {}))
        model.train_step(dict(inputs=tiny.pixels(), data_samples=None), wrapper)
        kept.append(held(wrapper.optimizer))
    state = [gathered_state(wrapper)]
    torch.distributed.broadcast_object_list(state)
    wrapper.load_state_dict(state[0])
    drop_second_copy(wrapper)
    torch.save([*kept, held(wrapper.optimizer)], f'{folder}/{rank}.pth')


def test_with_zero_each_process_holds_half_of_the_state(tmp_path):
    processes.on_ranks(shares, str(tmp_path))
    (whole, *first), (_, *second) = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    assert first[0] + second[0] == whole and first[1] + second[1] == whole
    assert 0.45 * whole < first[0] < 0.55 * whole


def fsdp(rank, changes):
    from mmengine.model.wrappers import MMFullyShardedDataParallel
    from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
    from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

    layers = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={TransformerEncoderLayer})
    reference = MMDistributedDataParallel(module=parted(changes))
    sharded = MMFullyShardedDataParallel(parted(changes), auto_wrap_policy=layers, device_id=torch.device('cpu'))
    count = sum(parameter.numel() for parameter in reference.parameters())
    assert sum(parameter.numel() for parameter in sharded.parameters()) < 0.51 * count
    logs = [steps(model, rank) for model in (reference, sharded)]
    # The decoder's first layer is used twice, and FSDP adds the two gradients in another order.
    for got, expected in zip(logs[1], logs[0]):
        assert got == pytest.approx(expected, rel=1e-5)
    with sharded.summon_full_params(sharded):
        for (name, got), (_, expected) in zip(sharded.named_parameters(), reference.named_parameters()):
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=0, msg=name)


def parted(changes):
    model = tiny.build(tiny.aemim(**changes))
    tiny.part_domains(model)
    return model


def steps(model, rank):
    # The gradient of a key's bias is a rounding error. With a smaller eps, AdamW would turn it into a whole step.
    wrapper, logs = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-4)), []
    for step in range(3):
        torch.manual_seed(10 * step + rank)
        log = model.train_step(dict(inputs=tiny.pixels(seed=10 * step + rank), data_samples=None), wrapper)
        logs.append({name: value.item() for name, value in log.items()})
    return logs


@pytest.mark.skipif(torch.__version__ < '2.3', reason='the FSDP of torch 2.1 needs a GPU')
@pytest.mark.parametrize('changes', [{}, dict(attack_layers=1, adv_share=0.5)])
def test_a_model_wrapped_by_fsdp_computes_what_ddp_computes(changes):
    """FSDP works in a user's own loop. Saving and resuming do not."""
    processes.on_ranks(fsdp, changes)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(runner_type='FlexibleRunner', strategy=dict(type='FSDPStrategy')), 'FSDPStrategy is not supported'),
        (dict(strategy=dict(type='DeepSpeedStrategy')), 'DeepSpeedStrategy is not supported: it was never tried'),
        (dict(strategy=dict(type='mmengine.ColossalAIStrategy')), 'ColossalAIStrategy is not supported'),
        (dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')), 'MMFullyShardedDataParallel is not'),
        (
            dict(runner_type='FlexibleRunner'),
            'FlexibleRunner is not supported: it builds the model only when training starts',
        ),
        (dict(strategy=dict(type='DDPStrategy')), 'FlexibleRunner is not supported'),
    ],
)
def test_what_does_not_work_is_refused_with_the_way_that_does(cfg, message):
    with pytest.raises(UserError, match=f'{message}.*optimizer.type=ZeroRedundancyOptimizer'):
        check_strategy(Config(cfg))


def test_mmengines_own_scripts_refuse_it_too():
    with pytest.raises(UserError, match='FlexibleRunner is not supported'):
        SafeCheckpointHook().before_train(FlexibleRunner.__new__(FlexibleRunner))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(launcher='none'), 'there is only one. Start several with tools/dist_train.sh CONFIG 2'),
        (dict(optim_wrapper=dict(optimizer=dict(optimizer_type='Adamm'))), "of torch.optim, but got 'Adamm'"),
        (dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook'))), 'which waits for ever'),
        (dict(default_hooks=dict()), 'which waits for ever'),
    ],
)
def test_zero_is_refused_where_it_would_fail_or_hang(changes, message):
    cfg = dict(
        launcher='pytorch', optim_wrapper=SHARDED, default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook'))
    )
    check_optimizer(Config(cfg))
    check_optimizer(Config({**cfg, **changes, 'optim_wrapper': WRAPPER}))
    wrapper = tiny.merged(SHARDED, changes.get('optim_wrapper', {}))
    with pytest.raises(UserError, match=message):
        check_optimizer(Config({**cfg, **changes, 'optim_wrapper': wrapper}))


def test_the_tool_says_so_in_one_line(tmp_path, capsys):
    for options, message in ((ZERO, 'there is only one'), (['runner_type=FlexibleRunner'], 'FlexibleRunner is not')):
        with pytest.raises(SystemExit) as stopped:
            runs.train(runs.AEMIM, tmp_path, options=options)
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert stopped.value.code == 2 and line.startswith('error: ') and message in line
