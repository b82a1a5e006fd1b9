"""The report of `make demo`: what both encoders are worth, curves of both trainings, pictures of what was learned."""

import json
import os
import platform
from pathlib import Path

import cv2
import mmengine
import numpy as np
import torch
from mmengine.config import Config

from aemim_mm.apis.pretrained import build_model
from aemim_mm.datasets.demo import embedded_data
from aemim_mm.report import Chart, Curve, Panel, Table, write_report
from aemim_mm.version import __version__
from aemim_mm.visualization.panels import FOOTNOTE, draw_panels, panel_columns, panel_rows


def read_probes(configs: dict, out: Path) -> dict:
    """Name of an encoder to a dict of ``knn`` and ``linear``, in percent: the untrained one's, MAE's and AEMIM's.

    Args:
        configs: Name to config file, of the pre-trainings in ``out``.
        out: Folder with ``probed-NAME/probe.json``, by tools/analysis_tools/probe.py, for each.
    """
    results = {}
    for name in reversed(list(configs)):
        untrained, trained = json.loads((out / f'probed-{name.lower()}/probe.json').read_text()).values()
        results |= {'untrained': untrained, name: trained}
    return results


def read_scalars(work_dir: Path) -> dict:
    """What the training logged: name to (steps, values), over all runs that a resumed training took."""
    rows = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            if 'loss' in row:
                rows[row['step']] = row
    names = {name for row in rows.values() for name in row}
    return {
        name: tuple(zip(*[(step, row[name]) for step, row in sorted(rows.items()) if name in row])) for name in names
    }


def read_accuracy(work_dir: Path) -> float:
    """Top-1 of the last test during the last training in a folder, in percent."""
    rows = [
        json.loads(line)
        for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    return [row['accuracy/top1'] for row in rows if 'accuracy/top1' in row][-1]


def _tables(fine_tuning: dict, out: Path, probes: dict, kinds: dict) -> list:
    names = {'untrained': 'untrained', 'MAE': 'MAE, 16 epochs', 'AEMIM': 'AEMIM, 16 epochs'}
    frozen = Table(
        'Frozen encoder',
        "Top-1 on 2,000 test images, in percent, of a classifier on the frozen encoder's mean patch "
        'token, trained with 5,000 images. One run, one seed; the standard error of such a figure is about 0.9.',
        ['encoder', 'linear probe', '20-NN'],
        [[names[name], f'{result["linear"]:.1f}', f'{result["knn"]:.1f}'] for name, result in probes.items()],
        best={'linear probe': 'max', '20-NN': 'max'},
    )
    names['scratch'] = 'from scratch'
    config = Config.fromfile(fine_tuning['AEMIM'])
    fine_tuned = Table(
        'Fine-tuned',
        f'Top-1 on the same test images, in percent, of the whole network trained with '
        f'{config.train_dataloader.dataset.limit} labelled images for {config.train_cfg.max_epochs} epochs, from '
        'each encoder and from scratch. One run, one seed.',
        ['start', 'top-1'],
        [[names[name], f'{read_accuracy(out / f"finetuned-{name.lower()}"):.1f}'] for name in fine_tuning],
        best={'top-1': 'max'},
    )
    return [frozen, fine_tuned, _robustness(fine_tuning, out, names, kinds)]


def _robustness(fine_tuning: dict, out: Path, names: dict, kinds: dict) -> Table:
    columns = {'clean': 'clean', 'FGSM 4': 'fgsm/4', 'PGD 2': 'pgd/2', 'PGD 4': 'pgd/4', 'PGD 8': 'pgd/8'}
    rows = []
    for kind, word in kinds.items():
        for name in fine_tuning:
            found = json.loads((out / f'attacked-{kind}-{name.lower()}/results.json').read_text())
            (results,), (summary,) = found['results'].values(), found['summary'].values()
            figures = [results[part]['accuracy'] for part in columns.values()]
            figures.append(summary['mean_corrupted_accuracy'])
            rows.append([names[name] + word, *(f'{figure:.1f}' for figure in figures)])
    header = ['start', *columns, 'corrupted']
    return Table(
        'Robustness',
        f'Top-1 of the fine-tuned networks, in percent, on {results["clean"]["count"]} of the test images: as they '
        'are; under white-box attacks (the number is eps, of 255; PGD takes 10 steps); and the mean under the 15 '
        'corruptions of ImageNet-C at severity 3. A 95% interval is about 5 points to either side. The whole: '
        'attacked-*/report.html, beside this file. PGD-AT, fine-tuning on adversarial examples (here of eps 8), is '
        'what `python tools/demo.py --robust` adds.',
        header,
        rows,
        best=dict.fromkeys(header[1:], 'max'),
    )


def _charts(out: Path) -> list:
    aemim, mae = read_scalars(out / 'aemim'), read_scalars(out / 'mae')
    losses = Chart(
        'Reconstruction loss',
        'Mean squared error of hidden, normalised patches, over the last ten iterations. AEMIM adds '
        'the reconstruction of adversarial examples to what MAE does.',
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
        'Squared distance of encoder features from those of the clean image, per image: at the '
        'start (uniform noise of the same size) and at the end (the adversarial example).',
        'iteration',
        'distance',
        [Curve('random noise', *aemim['attack_start']), Curve('adversarial example', *aemim['attack_end'])],
        log_y=True,
    )
    return [losses, attack]


def _panel(config: Path, out: Path) -> Panel:
    model = build_model(config, out / 'aemim/epoch_16.pth')
    dataset = embedded_data(config, 'test')
    torch.manual_seed(0)
    inputs = model.data_preprocessor(
        dict(inputs=torch.stack([dataset[index]['inputs'] for index in range(8)]), data_samples=None)
    )
    columns, rows = panel_columns(model), panel_rows(model, inputs['inputs'])
    picture = draw_panels(rows[:4], columns, FOOTNOTE, size=112)
    cv2.imwrite(str(out / 'panels.png'), np.ascontiguousarray(picture[..., ::-1]))
    return Panel(
        'What the model sees and reconstructs',
        'Test images. Grey patches are hidden from the encoder. The perturbation is '
        f'amplified by the factor stated; its greatest size is {model.data_preprocessor.eps:g} of 255. {FOOTNOTE}.',
        columns,
        rows,
        groups=(('clean', 3), ('adversarial', 4)),
    )


def write_demo_report(configs: dict, fine_tuning: dict, out: Path, robust=False) -> Path:
    """Write ``report.html``, and ``panels.png`` beside it.

    Args:
        configs, fine_tuning: Name to config file, of the trainings in ``out``.
        out: Folder with a sub-folder for each training.
        robust: With the networks that were fine-tuned on adversarial examples.
    """
    probes = read_probes(configs, out)
    baseline, aemim = probes['untrained'], probes['AEMIM']
    kinds = {'finetuned': '', **({'pgd-at': ', PGD-AT'} if robust else {})}
    folders = [
        *(name.lower() for name in configs),
        *(f'{kind}-{name.lower()}' for kind in kinds for name in fine_tuning),
    ]
    seconds = {name: json.loads((out / name / 'done.json').read_text())['seconds'] for name in folders}
    tuned = {name: read_accuracy(out / f'finetuned-{name.lower()}') for name in fine_tuning}
    facts = {
        'Machine': f'{_processor()}, {os.cpu_count()} cores, two jobs at a time',
        'Pre-training': f'AEMIM {seconds["aemim"]:.0f} s, MAE {seconds["mae"]:.0f} s',
        'Fine-tuning': ', '.join(f'{name} {seconds[f"finetuned-{name.lower()}"]:.0f} s' for name in fine_tuning),
        'Config': f'configs/demo/{configs["AEMIM"].name}',
        'Checkpoint': 'aemim/epoch_16.pth, beside this file',
        'Versions': f'aemim-mm {__version__}, torch {torch.__version__}, mmengine {mmengine.__version__}',
    }
    summary = [
        'A small vision transformer was pre-trained without labels on 4,000 images of Fashion-MNIST: by AEMIM, and by '
        'MAE for as many epochs.',
        f'By a linear probe of the frozen encoder, AEMIM gives {aemim["linear"]:.1f}%, MAE '
        f'{probes["MAE"]["linear"]:.1f}%, and the same network untrained {baseline["linear"]:.1f}%.',
        f'Fine-tuned with few labels, AEMIM gives {tuned["AEMIM"]:.1f}%, MAE {tuned["MAE"]:.1f}%, and the same network '
        f'trained from scratch {tuned["scratch"]:.1f}%.',
        'This shows that the method runs and learns. It is too small to rank methods.',
    ]
    return write_report(
        out / 'report.html',
        title='AEMIM demo',
        summary=summary,
        facts=facts,
        sections=[*_tables(fine_tuning, out, probes, kinds), *_charts(out), _panel(configs['AEMIM'], out)],
        next_steps=[
            (
                'Pre-train on a folder of your own images, nested or flat, without labels:',
                'python tools/train.py configs/aemim_vit-b_folder.py --data-root DIR',
            ),
            (
                'Pre-train on ImageNet-1K with 8 GPUs, as in the paper:',
                'tools/dist_train.sh configs/aemim_vit-b_800e.py 8 --data-root DIR',
            ),
            (
                'Fine-tune on ImageNet-1K:',
                'tools/dist_train.sh configs/benchmarks/in1k/vit-base-p16_8xb128-coslr-100e_in1k.py 8 --data-root DIR',
            ),
            (
                'Measure the robustness of your own classifiers:',
                'python tools/robustness.py CONFIG CHECKPOINT --suite white-box corruptions',
            ),
        ],
    )


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    names = (
        [line.split(':')[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
