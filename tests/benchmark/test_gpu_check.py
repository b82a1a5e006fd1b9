"""The checks of a GPU, run on a CPU with tiny networks: all pass, and each one notices its fault."""

import math
import warnings
from functools import partial

import pytest
import torch
from helpers import runs
from mmengine import dist

from aemim_mm.benchmark import device_check, machine
from aemim_mm.benchmark.device_check import CHECKS, Setup, costs
from aemim_mm.benchmark.device_check.rows import Needed, Row, as_json, at_least, at_most, rows_of
from aemim_mm.benchmark.device_check.steps import CPURandomNumbers, Step, distance, take_step
from aemim_mm.models import compilation, early_backward
from aemim_mm.models.schedule import Schedule
from aemim_mm.report.record import read_record

CPU = torch.device('cpu')
SHRUNK = (
    'train_dataloader.dataset.limit=None',
    'model.backbone.arch.num_layers=2',
    'model.neck.decoder_depth=1',
)
TOOL = runs.tool('analysis_tools/gpu_check.py')


def setup_in(folder, kind=Setup, **changes):
    chosen = {**TOOL.SMALL, 'options': SHRUNK, 'batch_size': 4, 'repetitions': 1, **changes}
    return kind(device=CPU, folder=folder, **chosen)


def verdicts(name, setup):
    """Figure to verdict, of one check."""
    rows = rows_of(name, partial(CHECKS[name], setup))
    assert rows and all(row.check == name for row in rows)
    return {row.figure: row.verdict for row in rows}


@pytest.mark.slow
def test_the_tool_runs_every_check(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, 'SIDE', 64)
    flags = ('--small', '--device', 'cpu', '--batch-size', 4, '--repetitions', 1, '--cfg-options', *SHRUNK[1:])
    runs.run('analysis_tools/gpu_check.py', '--record', tmp_path / 'check.json', *flags)
    values = read_record(tmp_path / 'check.json')['values']
    printed = capsys.readouterr().out
    found = {}
    for row in values['rows']:
        found.setdefault(row['check'], []).append(row['verdict'])
    assert list(found) == list(CHECKS) and all(f'| {name}' in printed for name in found)
    for name in ('float32', 'bfloat16', 'weight cache', 'early backward', 'two processes', 'resume'):
        assert set(found[name]) == {'ok'}, (name, found[name])
    assert found['float16'][0].startswith('needs a GPU') and found['waits'][0].startswith('needs a GPU')
    assert found['compile'] == ['needs --compile, which takes minutes']
    # Not the times of networks that are so small.
    rows = [row for row in values['rows'] if not row['figure'].endswith('time over MAE')]
    assert not [row for row in rows if row['verdict'] == 'differs' or row['verdict'].startswith('failed')]
    assert set(values['benchmark']['stages']) == {'MAE of mmpretrain', 'AEMIM'} and 'faults: ' in printed


@pytest.mark.parametrize('options', [('--images', 3), ('--batch-size', 0)])
def test_bad_numbers_are_refused(options, capsys):
    with pytest.raises(SystemExit) as ended:
        runs.run('analysis_tools/gpu_check.py', *options)
    assert ended.value.code == 2 and '--images is even' in capsys.readouterr().err


class OneWeightOff(Setup):
    """A setup in which the device to check has another weight than the CPU."""

    def candidate(self, *args, **settings):
        candidate = super().candidate(*args, **settings)
        if 'device' not in settings:
            with torch.no_grad():
                candidate.model.backbone.layers[0].attn.proj.weight.mul_(1.2)
        return candidate


def test_a_device_with_another_weight_differs(tmp_path):
    found = verdicts('float32', setup_in(tmp_path, OneWeightOff))
    assert found['loss_clean: relative difference'] == 'differs' == found['gradients: relative difference']
    assert found['mask: patches that differ'] == 'ok'


def test_gradients_lost_to_stale_cached_weights_differ(tmp_path):
    class Stale(Setup):
        def candidate(self, *args, **settings):
            candidate = super().candidate(*args, **settings)
            loss = candidate.model.loss

            def without_gradients_first(inputs, data_samples):
                with torch.no_grad():
                    candidate.model.backbone(inputs)
                return loss(inputs, data_samples)

            candidate.model.loss = without_gradients_first
            return candidate

    found = verdicts('weight cache', setup_in(tmp_path, Stale))
    assert set(found.values()) == {'differs'} and len(found) == 2


def test_wrong_early_gradients_and_autocast_in_backward_passes_differ(tmp_path, monkeypatch):
    def scaled(value, inputs, allow_unused=False):
        found = torch.autograd.grad(value, inputs, allow_unused=allow_unused)
        return [None if gradient is None else 0.5 * gradient for gradient in found]

    # With autocast on, as it would be without ``gradients_of``.
    monkeypatch.setattr(early_backward, 'gradients_of', scaled)
    found = verdicts('early backward', setup_in(tmp_path))
    assert set(found.values()) == {'ok', 'differs'}
    assert [verdict for figure, verdict in found.items() if 'gradients' in figure] == ['differs'] * 2
    assert [verdict for figure, verdict in found.items() if 'autocast' in figure] == ['ok', 'differs']


def test_waits_are_counted_by_the_line_that_caused_them():
    def step():
        for _ in range(3):
            warnings.warn('called a synchronizing CUDA operation', UserWarning, stacklevel=1)
        warnings.warn('called a synchronizing CUDA operation', UserWarning, stacklevel=1)
        warnings.warn('something else', UserWarning, stacklevel=1)

    first = step.__code__.co_firstlineno
    places = costs.count_syncs(step)
    assert places == {f'test_gpu_check.py:{first + 2}': 3, f'test_gpu_check.py:{first + 3}': 1}
    as_stock, more = {'a.py:1': costs.MORE_SYNCS}, {'a.py:1': costs.MORE_SYNCS + 1}
    for found, verdict in ((as_stock, 'ok'), (more, 'differs')):
        rows = list(costs.compare_syncs({costs.MAE: {}, costs.AEMIM: found}))
        assert [row.verdict for row in rows] == ['', verdict, '']


def test_slow_steps_differ(tmp_path, monkeypatch):
    slow = dict(step=1.0, images_per_second=4.0, memory_mb=1.0, time_ratio=3.0, flops_ratio=2.5)
    monkeypatch.setattr(costs, 'candidates', lambda _setup: [])
    monkeypatch.setattr(costs, 'compare', lambda *_args, **_settings: [])
    for ratio, verdict in ((2.8, 'ok'), (3.0, 'differs')):
        steps = {costs.MAE: slow, costs.AEMIM: {**slow, 'time_ratio': ratio}}
        monkeypatch.setattr(costs, 'figures', lambda *_, steps=steps: dict(steps=steps))
        assert verdicts('cost', setup_in(tmp_path))['AEMIM: time over MAE'] == verdict


class FirstWeightOff(Setup):
    """A setup in which the first of two candidates has another weight."""

    built = 0

    def candidate(self, *args, **settings):
        candidate = super().candidate(*args, **settings)
        if not self.built:
            with torch.no_grad():
                candidate.model.backbone.layers[0].attn.proj.weight.mul_(1.2)
        self.built += 1
        return candidate


@pytest.mark.skipif(not compilation.CAN_COMPILE, reason='this torch is refused')
@pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor that is not a leaf')  # dynamo's own
@pytest.mark.parametrize(('kind', 'verdict'), [(Setup, 'ok'), (FirstWeightOff, 'differs')])
def test_compiled_layers(tmp_path, kind, verdict):
    found = verdicts('compile', setup_in(tmp_path, kind, compiler='eager'))
    assert found['gradients: relative difference'] == verdict and 'time over the plain step' in found


class UnlikeRanks(Setup):
    """A setup in which the second process weighs the adversarial loss otherwise."""

    def candidate(self, *args, **settings):
        candidate = super().candidate(*args, **settings)
        if dist.get_rank() == 1:
            candidate.model.weight_schedule = Schedule('adv_weight', 0.5)
        return candidate


@pytest.mark.slow
def test_unlike_processes_and_an_inexact_resumption_differ(tmp_path):
    found = verdicts('two processes', setup_in(tmp_path, UnlikeRanks))
    assert found['gradients: relative difference'] == 'differs' == found['loss_adv: relative difference']
    # mmengine's own loop draws other masks after a break.
    inexact = setup_in(tmp_path, options=(*SHRUNK, 'exact_resume=False', 'train_cfg.type=EpochBasedTrainLoop'))
    found = verdicts('resume', inexact)
    assert found['resumed training: weights that differ'] == 'differs'
    assert found['a step, repeated: gradients that differ'] == 'ok'


def test_a_failing_check_does_not_stop_the_others(tmp_path, monkeypatch):
    def fails(_setup):
        yield Row('first', 1)
        raise RuntimeError('CUDA error: out of luck\nCompile with TORCH_USE_CUDA_DSA')

    def needs(_setup):
        raise Needed('2 GPUs')

    monkeypatch.setattr(device_check, 'CHECKS', dict(a=fails, b=needs, c=lambda _setup: [Row('last', 2)]))
    rows = device_check.run_checks(setup_in(tmp_path), progress=lambda _line: None)
    assert [row.check for row in rows] == ['a', 'a', 'b', 'c']
    assert [row.verdict for row in rows] == ['', 'failed: RuntimeError: CUDA error: out of luck', 'needs 2 GPUs', '']


def test_the_error_of_another_process_is_its_last_line():
    def fails():
        raise RuntimeError('\n-- Process 0 --\nTraceback (most recent call last):\n  File "a.py"\nValueError: no\n')

    assert rows_of('x', fails)[0].verdict == 'failed: RuntimeError: ValueError: no'


def test_a_value_that_is_not_a_number_differs():
    assert at_most('x', math.nan, 1).verdict == at_least('x', math.nan, 1).verdict == 'differs'
    assert as_json(Row('x', math.nan))['got'] == 'nan' and as_json(Row('x', 1.5))['got'] == 1.5


def test_processes_share_the_random_numbers_of_one():
    def draw(rank=0, ranks=1, count=4):
        torch.manual_seed(0)
        with CPURandomNumbers(rank, ranks):
            mask = torch.rand(count, 7, device=CPU)
            return torch.cat((mask, torch.rand_like(mask), torch.randn((count, 2)), torch.randn_like(mask)), 1)

    torch.manual_seed(0)
    plain = torch.cat((torch.rand(4, 7), torch.rand(4, 7), torch.randn(4, 2), torch.randn(4, 7)), 1)
    assert torch.equal(draw(), plain)
    assert torch.equal(torch.cat([draw(rank, 2, 2) for rank in range(2)]), plain)


def test_the_distance_counts_lost_gradients():
    expected = dict(a=torch.tensor([3.0]), b=torch.tensor([4.0]))
    assert distance(expected, expected) == 0
    assert distance(dict(a=torch.tensor([3.0])), expected) == pytest.approx(4 / 5)


def test_a_step_leaves_the_weights_and_gives_the_gradients(tmp_path):
    candidate = setup_in(tmp_path).candidate(TOOL.SMALL['config'], precision='float32')
    before = {name: value.clone() for name, value in candidate.model.state_dict().items()}
    step = take_step(candidate)
    assert isinstance(step, Step) and step.missing == [] and step.log['attack_gain'] > 1
    assert all(torch.equal(value, before[name]) for name, value in candidate.model.state_dict().items())
    assert (step.attacked - step.pixels).abs().max() <= 2 + 1e-3
    # An ordinary step changes them.
    candidate.step()
    assert any(not torch.equal(value, before[name]) for name, value in candidate.model.state_dict().items())
