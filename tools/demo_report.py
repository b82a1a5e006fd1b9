"""The report of `make demo`: what both encoders are worth, curves of both trainings, and pictures."""

import json
import os
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from PIL import Image

from aemim_mm.apis.pretrained import build_model
from aemim_mm.datasets.of_config import labelled_data
from aemim_mm.evaluation.instrument_charts import instrument_charts, instruments_of
from aemim_mm.report import Chart, Curve, Panel, Table, write_report
from aemim_mm.report.machine import processor_name
from aemim_mm.report.scalars import read_scalars
from aemim_mm.version import __version__
from aemim_mm.visualization.panels import FOOTNOTE, draw_panels, panel_columns, panel_rows

ENCODERS, STARTS = ('untrained', 'MAE', 'AEMIM'), ('scratch', 'MAE', 'AEMIM')
NAMES = {'scratch': 'from scratch', 'MAE': 'MAE, 16 epochs', 'AEMIM': 'AEMIM, 16 epochs'}
# Heading of a column to its measurement.
ATTACKS = {'clean': 'clean', 'FGSM 4': 'fgsm/4', 'PGD 2': 'pgd/2', 'PGD 4': 'pgd/4', 'PGD 8': 'pgd/8'}
NEXT_STEPS = {
    'Pre-train on a folder of your own images, nested or flat, without labels:': 'python tools/train.py '
    'configs/aemim_vit-b_folder.py --data-root DIR',
    'Pre-train on ImageNet-1K with 8 GPUs, as in the paper:': 'tools/dist_train.sh configs/aemim_vit-b_800e.py 8 '
    '--data-root DIR',
    'Fine-tune on ImageNet-1K:': 'tools/dist_train.sh configs/benchmarks/in1k/vit-base-p16_8xb128-coslr-100e_in1k.py 8 '
    '--data-root DIR',
    'Measure the robustness of your own classifiers:': 'python tools/robustness.py CONFIG CHECKPOINT --suite white-box '
    'corruptions',
}


def demo_figures(out: Path, robust: bool = False) -> dict:
    """Return all figures of the demo, with accuracies in percent.

    Args:
        out: Folder with a sub-folder for each job.
        robust: Whether to include the networks that were fine-tuned on adversarial examples.

    Returns:
        ``frozen`` (encoder to ``linear`` and ``knn``), ``fine_tuned`` (start to ``top-1``), ``robustness`` (network to
        a measurement to top-1), ``attacked_images`` (their number), and ``seconds`` (training to its duration).
    """
    figures: dict[str, Any] = dict(frozen={}, fine_tuned={}, robustness={}, attacked_images=None, seconds={})
    for name in ENCODERS[1:]:
        untrained, trained = _read(out / f'probed-{name.lower()}/probe.json').values()
        figures['frozen'] |= {'untrained': untrained, name: trained}
        figures['seconds'][name.lower()] = _read(out / name.lower() / 'done.json')['seconds']
    for name in STARTS:
        logged = read_scalars(out / f'finetuned-{name.lower()}', 'accuracy/top1')
        figures['fine_tuned'][name] = {'top-1': logged['accuracy/top1'][1][-1]}
    for kind, suffix in [('finetuned', ''), ('pgd-at', ', PGD-AT')][: 1 + robust]:
        for name in STARTS:
            folder = f'{kind}-{name.lower()}'
            figures['seconds'][folder] = _read(out / folder / 'done.json')['seconds']
            found = _read(out / f'attacked-{folder}/results.json')
            (results,), (summary,) = found['results'].values(), found['summary'].values()
            accuracies = {part: results[part]['accuracy'] for part in ATTACKS.values()}
            figures['robustness'][NAMES[name] + suffix] = {
                **accuracies,
                'corrupted': summary['mean_corrupted_accuracy'],
            }
            figures['attacked_images'] = results['clean']['count']
    return figures


def _read(path: Path):
    return json.loads(path.read_text())


def _tables(figures: dict, config: Config) -> list[Table]:
    frozen = Table(
        'Frozen encoder',
        "Top-1 on 2,000 test images, in percent, of a classifier on the frozen encoder's mean patch token, trained "
        'with 5,000 images. One run, one seed; the standard error of such a figure is about 0.9.',
        ['encoder', 'linear probe', '20-NN'],
        [
            [NAMES.get(name) or name, f'{row["linear"]:.1f}', f'{row["knn"]:.1f}']
            for name, row in figures['frozen'].items()
        ],
        best={'linear probe': 'max', '20-NN': 'max'},
    )
    fine_tuned = Table(
        'Fine-tuned',
        f'Top-1 on the same test images, in percent. The whole network was trained with '
        f'{config.train_dataloader.dataset.limit} labelled images for {config.train_cfg.max_epochs} epochs, from '
        'each encoder and from scratch. One run, one seed.',
        ['start', 'top-1'],
        [[NAMES[name], f'{row["top-1"]:.1f}'] for name, row in figures['fine_tuned'].items()],
        best={'top-1': 'max'},
    )
    header = ['start', *ATTACKS, 'corrupted']
    robustness = Table(
        'Robustness',
        f'Top-1 of the fine-tuned networks, in percent, on {figures["attacked_images"]} of the test images: as they '
        'are; under white-box attacks (the number is eps, of 255; PGD takes 10 steps); and the mean under the 15 '
        'corruptions of ImageNet-C at severity 3. A 95% interval is about 5 points to either side. All results: '
        'attacked-*/report.html, beside this file. `python tools/demo.py --robust` adds PGD-AT, fine-tuning on '
        'adversarial examples (here of eps 8).',
        header,
        [[name, *(f'{figure:.1f}' for figure in row.values())] for name, row in figures['robustness'].items()],
        best=dict.fromkeys(header[1:], 'max'),
    )
    return [frozen, fine_tuned, robustness]


def _charts(out: Path) -> list[Chart]:
    aemim, mae = read_scalars(out / 'aemim'), read_scalars(out / 'mae')
    losses = Chart(
        'Reconstruction loss',
        'Mean squared error of hidden, normalised patches, over the last ten iterations. AEMIM adds the '
        'reconstruction of adversarial examples to what MAE does.',
        'iteration',
        'loss',
        [
            Curve('AEMIM, clean', *aemim['loss_clean']),
            Curve('AEMIM, adversarial', *aemim['loss_adv']),
            Curve('MAE', *mae['loss']),
        ],
    )
    attack = Chart(
        'Strength of the attack',
        'Squared distance between encoder features and the features of the clean image, per image: at the start '
        '(uniform noise of the same size) and at the end (the adversarial example).',
        'iteration',
        'distance',
        [Curve('random noise', *aemim['attack_start']), Curve('adversarial example', *aemim['attack_end'])],
        log_y=True,
    )
    watched = dict(AEMIM=instruments_of(out / 'aemim'), MAE=instruments_of(out / 'mae'))
    return [losses, attack, *instrument_charts(watched)]


def _panel(config: Path, out: Path) -> Panel:
    model = build_model(config, out / 'aemim/epoch_16.pth')
    dataset = labelled_data(config, 'test')
    torch.manual_seed(0)
    images = torch.stack([dataset[index]['inputs'] for index in range(8)])
    inputs = model.data_preprocessor(dict(inputs=images, data_samples=None))['inputs']
    columns, rows = panel_columns(model), panel_rows(model, inputs)
    Image.fromarray(draw_panels(rows[:4], columns, FOOTNOTE, size=112)).save(out / 'panels.png')
    return Panel(
        'What the model sees and reconstructs',
        'Test images. Grey patches are hidden from the encoder. The perturbation is '
        f'amplified by the factor stated; its greatest size is {model.data_preprocessor.eps:g} of 255. {FOOTNOTE}.',
        columns,
        rows,
        groups=(('clean', 3), ('adversarial', 4)),
    )


def _facts(seconds: dict, config: str) -> dict[str, str]:
    return {
        'Machine': f'{processor_name()}, {os.cpu_count()} cores, two jobs at a time',
        'Pre-training': f'AEMIM {seconds["aemim"]:.0f} s, MAE {seconds["mae"]:.0f} s',
        'Fine-tuning': ', '.join(f'{name} {seconds[f"finetuned-{name.lower()}"]:.0f} s' for name in STARTS),
        'Config': f'configs/demo/{config}',
        'Checkpoint': 'aemim/epoch_16.pth, beside this file',
        'Versions': f'aemim-mm {__version__}, torch {torch.__version__}, mmengine {mmengine.__version__}',
    }


def _summary(figures: dict) -> list[str]:
    linear = {name: f'{row["linear"]:.1f}%' for name, row in figures['frozen'].items()}
    tuned = {name: f'{row["top-1"]:.1f}%' for name, row in figures['fine_tuned'].items()}
    return [
        'A small vision transformer was pre-trained without labels on 4,000 images of Fashion-MNIST: by AEMIM, and by '
        'MAE for as many epochs.',
        f'By a linear probe of the frozen encoder, AEMIM gives {linear["AEMIM"]}, MAE {linear["MAE"]}, and the same '
        f'network untrained {linear["untrained"]}.',
        f'Fine-tuned with few labels, AEMIM gives {tuned["AEMIM"]}, MAE {tuned["MAE"]}, and the same network trained '
        f'from scratch {tuned["scratch"]}.',
        'This shows that the method runs and learns. It is too small to rank methods.',
    ]


def write_demo_report(configs: dict, fine_tuning: dict, out: Path, robust: bool = False) -> Path:
    """Write ``report.html``, and ``panels.png`` beside it.

    Args:
        configs, fine_tuning: Name to config file of the trainings in ``out``.
        out: Folder with a sub-folder for each job.
        robust: Whether to include the networks that were fine-tuned on adversarial examples.

    Returns:
        The path of the report.
    """
    figures = demo_figures(out, robust)
    tables = _tables(figures, Config.fromfile(fine_tuning['AEMIM']))
    return write_report(
        out / 'report.html',
        title='AEMIM demo',
        summary=_summary(figures),
        facts=_facts(figures['seconds'], configs['AEMIM'].name),
        sections=[*tables, *_charts(out), _panel(configs['AEMIM'], out)],
        next_steps=list(NEXT_STEPS.items()),
    )
