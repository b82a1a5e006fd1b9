"""configs/README.md: every config, as its docstring and configs/metafile.yml describe it."""

import ast
import re
from itertools import groupby
from pathlib import Path

import yaml

from aemim_mm.report.record import read_record

# Folder to its title.
FOLDERS = {
    '.': 'AEMIM on MAE',
    'simmim': 'AEMIM on SimMIM',
    'hosts': 'AEMIM on other methods',
    'baselines': 'Baselines',
    'benchmarks/in1k': 'Classifiers on ImageNet-1K',
    'benchmarks/coco': 'Detectors on COCO',
    'demo': 'Demo',
    'studies': 'Studies',
}
FIELD = re.compile(r'^(Needs|Expected): +(.*(?:\n {11}.*)*)', re.MULTILINE)
HEAD = """# Configs

Each config is one experiment. `python tools/train.py CONFIG` runs it on one device, `tools/dist_train.sh CONFIG GPUS`
on several. The first lines of a config have its exact command. Studies are run by `python tools/study.py STUDY`. The
paper's figures have not been reproduced here, which would take hundreds of GPU hours.

`make tables` writes this page from the configs and from [metafile.yml](metafile.yml), through which mim and mmpretrain
find the models. Costs are the operations of a step, of products and attention, for one image with all its crops, and
their ratio to those of mae\\_vit-b\\_800e ([record](../results/config_costs.json)). Target networks count, too.
"""
BASELINE = 'mae_vit-b_800e'


def config_page(configs: Path) -> str:
    """Return the page about all configs, in Markdown, with links relative to their folder.

    Args:
        configs: The folder of the configs.
    """
    with open(configs / 'metafile.yml', encoding='utf-8') as file:
        models = {Path(model['Config']).relative_to('configs'): model for model in yaml.safe_load(file)['Models']}
    paths = [path.relative_to(configs) for path in configs.rglob('*.py') if '_base_' not in path.parts]
    costs = read_record(configs.parent / 'results/config_costs.json')['values']
    order, parts = list(FOLDERS), [HEAD]
    paths.sort(key=lambda path: (order.index(str(path.parent)), path))
    for folder, group in groupby(paths, lambda path: path.parent):
        entries = ''.join(described(configs, path, models.get(path, {}), costs) for path in group)
        parts += [f'## {FOLDERS[str(folder)]}\n', entries]
    return '\n'.join(parts)


def described(configs: Path, path: Path, model: dict, costs: dict) -> str:
    """Return what the page says about a config: an item of a list.

    Args:
        configs: The folder of the configs.
        path: The config, relative to it.
        model: Its entry in metafile.yml.
        costs: Name of a config to the counted figures of a step.
    """
    text = ast.get_docstring(ast.parse((configs / path).read_text(encoding='utf-8'))) or ''
    fields = {name: marked_up(' '.join(value.split())) for name, value in FIELD.findall(text)}
    summary = text.split('\n\n')[0].replace('\n', ' ').removeprefix('Study: ')
    batch = model.get('Metadata', {}).get('Batch Size')
    cost, reference = (costs.get(name, {}).get('gflop_per_image') for name in (path.stem, BASELINE))
    return (
        f'- **[{path.stem}]({path})**: {marked_up(summary[0].upper() + summary[1:])}\n'
        + (f'  - total batch size: {batch}\n' if batch else '')
        + (f'  - costs: {cost:.0f} GFLOP an image, {cost / reference:.2f} times as many\n' if cost else '')
        + f'  - needs: {fields["Needs"]}\n'
        + f'  - expected: {fields["Expected"]}\n'
    )


def marked_up(text: str) -> str:
    """Return plain text as Markdown: paths of placeholders stay as they are, and pages of docs/ become links."""
    text = re.sub(r'([<*|_])', r'\\\1', text)
    return re.sub(r'\bdocs/(\S+?\.md)', r'[docs/\1](../docs/\1)', text)
