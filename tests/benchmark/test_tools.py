"""The other tools that measure costs."""

from unittest import mock

import pytest
from helpers import runs

from aemim_mm.datasets import DemoFashionMNIST
from aemim_mm.launch import load_config
from aemim_mm.report.record import read_record


def test_costs_of_an_image(tmp_path, capsys):
    runs.run('analysis_tools/count_costs.py', runs.MAE, runs.AEMIM, '--record', tmp_path / 'costs.json')
    (name, costs), (_, ours) = read_record(tmp_path / 'costs.json')['values'].items()
    assert name == runs.MAE.stem and name in capsys.readouterr().out
    # AdamW keeps two float32 values for each parameter, and no process holds less than an eighth of them.
    assert costs['optimizer_mb'] == pytest.approx(8 * costs['parameters_m'])
    assert costs['optimizer_mb'] / 8 <= costs['zero1_mb'] < costs['optimizer_mb']
    assert costs['gflop_per_image'] > 0 and costs['activations_mb_per_image'] > 0
    for kind in ('gflop_per_image', 'moved_mb_per_image'):
        assert costs[f'attack_{kind}'] == 0
        # The two other passes of AEMIM's step compute what two of MAE's do, with less traffic.
        passes = (ours[kind] - ours[f'attack_{kind}']) / costs[kind]
        assert 1.7 < passes < 2.1 if kind == 'gflop_per_image' else 1 < passes < 2


def test_costs_of_an_attack_on_a_part_of_the_batch(monkeypatch):
    tool = runs.tool('analysis_tools/count_costs.py')
    cfgs = [load_config(runs.AEMIM, options=[f'model.adv_share={share}']) for share in (0.25, 1)]
    monkeypatch.setattr('aemim_mm.launch.load_config', lambda cfg: cfg)
    quarter, whole = (tool.count_costs(cfg)['attack_gflop_per_image'] for cfg in cfgs)
    assert quarter == pytest.approx(whole / 4, rel=1e-3)


@pytest.mark.parametrize(('demo', 'computed'), [('hpm_vit-tiny_16e', False), ('ibot_vit-tiny_32e', True)])
def test_costs_of_methods_whose_masks_depend_on_values(demo, computed, monkeypatch):
    tool, seen = runs.tool('analysis_tools/count_costs.py'), []
    figures = tool._figures
    monkeypatch.setattr(tool, '_figures', lambda *args: seen.append(args[-1]) or figures(*args))
    alone, ours = (tool.count_costs(runs.CONFIGS / f'demo/{name}_fashion-mnist.py') for name in (demo, f'ae{demo}'))
    assert seen == [12, 4] * 2 if computed else [12] * 2
    # A teacher sees the clean image only.
    assert 1.5 < (ours['gflop_per_image'] - ours['attack_gflop_per_image']) / alone['gflop_per_image'] < 2.1
    assert alone['attack_gflop_per_image'] == 0 < ours['attack_gflop_per_image']


def test_costs_at_full_size_without_data_and_weights_of_the_target_network():
    """Parts of the full-size config fit. mmpretrain's MILAN has a decoder of another width."""
    costs = runs.tool('analysis_tools/count_costs.py').count_costs(runs.CONFIGS / 'hosts/aemilan_vit-b_400e.py')
    recorded = read_record(runs.REPO / 'results/config_costs.json')['values']['aemilan_vit-b_400e']
    for figure in ('gflop_per_image', 'attack_gflop_per_image', 'parameters_m'):
        assert costs[figure] == pytest.approx(recorded[figure], rel=0.01)


def test_a_config_without_training_has_no_costs(tmp_path, capsys):
    config = tmp_path / 'test_only.py'
    config.write_text(f'_base_ = {str(runs.MAE)!r}\ntrain_dataloader = train_cfg = optim_wrapper = None\n')
    with pytest.raises(SystemExit):
        runs.run('analysis_tools/count_costs.py', config)
    assert 'test_only.py has no train_dataloader, and so no step. Choose' in capsys.readouterr().err


def test_cheaper_attacks_are_compared(tmp_path, capsys):
    flags = ('--layers', 1, '--batch-size', 8, '--repetitions', 1, '--record', tmp_path / 'record.json')
    runs.run('analysis_tools/attack_variants.py', runs.AEMIM, *flags)
    rows = read_record(tmp_path / 'record.json')['values']
    assert list(rows) == [
        *('all layers, 2 steps', 'random directions', 'all layers, 1 step', 'all layers, reused under another mask'),
        *('layer 1, 2 steps', 'layer 1, 1 step'),
    ]
    whole, noise, one_step, reused, first, _ = rows.values()
    assert whole['attack_flops'] == whole['step_flops'] == whole['distance'] == whole['attack_time'] == 1
    assert noise['attack_flops'] == reused['attack_flops'] == 0 and noise['over_noise'] == 1 < whole['over_noise']
    assert one_step['attack_flops'] == 0.5 and noise['distance'] < first['distance'] < 1
    # A quarter of the layers, and the patch embedding.
    assert 0.25 < first['attack_flops'] < 0.3
    assert first['step_flops'] < one_step['step_flops'] < 1 and 'layer 1, 2 steps' in capsys.readouterr().out


def test_attacks_of_a_model_without_any_are_a_clear_error(capsys):
    with pytest.raises(SystemExit):
        runs.run('analysis_tools/attack_variants.py', runs.CONFIGS / 'demo/mae_vit-tiny_16e_fashion-mnist.py')
    assert 'MAE makes no adversarial examples' in capsys.readouterr().err


def test_the_rate_of_a_worker_is_counted_images_over_time(tmp_path, capsys, monkeypatch):
    tool = runs.tool('analysis_tools/loading_rate.py')
    seen, times = [], iter([10.0, 14.0])
    monkeypatch.setattr(DemoFashionMNIST, '__getitem__', lambda _, index: seen.append(index))
    tool.perf_counter = lambda: next(times)
    with mock.patch('torch.set_num_threads'), mock.patch('cv2.setNumThreads'):
        assert tool.images_per_second(load_config(runs.AEMIM), 20) == 5
        assert len(seen) == 21 and max(seen) < 4000 and len(set(seen)) > 15
        monkeypatch.undo()
        runs.run('analysis_tools/loading_rate.py', runs.AEMIM, '--images', 8, '--record', tmp_path / 'rate.json')
    rate = read_record(tmp_path / 'rate.json')['values']['images_per_second']
    assert f'{rate:.1f} images/s in one worker' in capsys.readouterr().out


def test_gains_in_throughput_are_taken_in_each_run():
    rows = runs.tool('analysis_tools/processes.py').figures({1: [1.0, 2.0, 1.0], 4: [2.0, 2.0, 1.0]})
    assert rows['1'] == dict(seconds=1.0, gain=1, least_gain=1, greatest_gain=1, of_linear=1)
    assert rows['4'] == dict(seconds=2.0, gain=4, least_gain=2, greatest_gain=4, of_linear=1)


@pytest.mark.slow
def test_throughput_of_one_and_two_processes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(runs.REPO))
    options = [*runs.SHRUNK, 'train_cfg.max_epochs=3', 'custom_hooks=[]', 'model.data_preprocessor.steps=1']
    flags = ('--repetitions', 1, '--skip', 1, '--record', tmp_path / 'record.json')
    runs.run('analysis_tools/processes.py', runs.AEMIM, *flags, '--cfg-options', *options)
    rows = read_record(tmp_path / 'record.json')['values']
    assert list(rows) == ['1', '2'] and rows['1']['gain'] == 1 and rows['2']['seconds'] > 0
    assert '1.00 (1.00-1.00)' in capsys.readouterr().out


def test_a_run_that_fails_is_shown(capsys):
    with pytest.raises(SystemExit, match='There is no config gone.py'):
        runs.run('analysis_tools/processes.py', 'gone.py', '--repetitions', 1)


def test_cost_of_checking_annotations(tmp_path):
    flags = ('--images', 20, '--annotations', 300, '--repetitions', 1, '--record', tmp_path / 'record.json')
    runs.run('analysis_tools/annotation_checks.py', *flags)
    values = read_record(tmp_path / 'record.json')['values']
    assert values['annotations'] == 300 and set(values['seconds']) == {'json_load', 'read_and_check', 'check'}
    assert values['check_to_json_load'] == pytest.approx(values['seconds']['check'] / values['seconds']['json_load'])


def test_costs_of_adapters(tmp_path, capsys):
    kinds = '[norm,dict(type=lora,rank=2),dict(type=bottleneck,width=8,layers=[0])]'
    flags = ('--record', tmp_path / 'record.json', '--cfg-options', f'model.backbone.adapters={kinds}')
    runs.run('analysis_tools/adapters.py', runs.AEMIM, *flags)
    rows = read_record(tmp_path / 'record.json')['values']
    names = ['encoder, norm', 'encoder, lora(rank=2)', 'encoder, bottleneck(width=8, layers=[0])', 'all']
    assert list(rows) == names and 'lora(rank=2)' in capsys.readouterr().out
    norm, lora, bottleneck, together = rows.values()
    width, layers = 192, 4
    assert norm['parameters_k'] == pytest.approx((2 * layers + 1) * 2 * width / 1e3)
    assert lora['parameters_k'] == pytest.approx(layers * 2 * (width + 3 * width) / 1e3)
    assert bottleneck['parameters_k'] == pytest.approx(2 * (2 * width * 8 + 8 + width) / 1e3)
    alone = (norm, lora, bottleneck)
    for figure in ('parameters_k', 'network_share', 'gflop_per_image', 'step_share'):
        assert together[figure] == pytest.approx(sum(row[figure] for row in alone), rel=1e-6)
    assert norm['gflop_per_image'] == 0 < lora['gflop_per_image'] < bottleneck['gflop_per_image']


def test_a_method_without_adapters_has_no_costs_of_them(capsys):
    with pytest.raises(SystemExit):
        runs.run('analysis_tools/adapters.py', runs.MAE)
    assert 'MAE has no adapters' in capsys.readouterr().err
