"""The tables and charts of README.md and docs/: from which record each is made, and how."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import claims

from aemim_mm.benchmark import attack_variants, table
from aemim_mm.benchmark.estimate import gpu_hours, gpu_steps, largest_batches, memory
from aemim_mm.evaluation.instrument_charts import RANGE_COLUMNS, ranges
from aemim_mm.report import Chart, Curve
from aemim_mm.study import effects
from aemim_mm.study.tables import DIFFERENCE_COLUMNS, differences, mean_columns, means, whole_seeds


@dataclass
class Table:
    """A table that is made from a record.

    Attributes:
        record: Name of the file in results/, without ``.json``; or of a folder there, whose records are all below it.
        columns: As for ``markdown_table``, or a function that makes them of the same argument as ``rows``.
        rows: Maps the values of the record, or the list of the folder's records, to the rows of ``markdown_table``.
    """

    record: str
    columns: dict | Callable[..., dict]
    rows: Callable = dict


@dataclass
class Drawing:
    """A chart that is drawn from a record.

    Attributes:
        record: As of ``Table``.
        draw: Maps what ``Table.rows`` gets to the chart.
    """

    record: str
    draw: Callable[..., Chart]


def demo_encoders(demo: dict) -> dict:
    """Top-1 of frozen and fine-tuned encoders, and the seconds of their pre-training, by encoder."""
    rows = {}
    for name, probes in demo['frozen'].items():
        start = 'scratch' if name == 'untrained' else name
        seconds = demo['seconds'].get(name.lower())
        rows[name] = dict(probes, tuned=demo['fine_tuned'][start]['top-1'], seconds=seconds)
    rows['untrained, or trained from scratch'] = rows.pop('untrained')
    return dict(sorted(rows.items(), key=lambda row: row[1]['seconds'] or 0))


def probed(method: str) -> Callable[[dict], dict]:
    """Return a function that names the two rows of a probe: the untrained encoder, and a method's."""
    return lambda probes: dict(zip(('untrained', method), probes.values(), strict=True))


def plain_networks(demo: dict) -> dict:
    """Top-1 of the networks that were fine-tuned on clean images, clean, attacked and corrupted."""
    return {name: row for name, row in demo['robustness'].items() if 'PGD-AT' not in name}


def by_eps(records: list[dict], measure: str, title: str, what: str) -> Chart:
    """A measure of the encoders of a search for the budget, by the eps of their pre-training."""
    others = {'MAE': 'mae', "MAE in AEMIM's time": 'mae-long'}
    drawn = re.compile('|'.join([r'eps\d+', *others.values()]))
    records = whole_seeds([record for record in records if drawn.fullmatch(record['values']['method'])])
    rows = means(records)
    attacked = {name: row for name, row in rows.items() if name.startswith('eps')}
    eps = [float(name[3:]) for name in attacked]
    curves = [Curve('AEMIM', eps, [row[measure] for row in attacked.values()])]
    curves += [Curve(label, eps, [rows[name][measure]] * len(eps)) for label, name in others.items() if name in rows]
    seeds = len({record['seed'] for record in records})
    caption = f'{what}, {seeds} seed{"s" if seeds > 1 else ""}. A line without slope is a baseline.'
    return Chart(title, caption, 'eps of the pre-training', 'accuracy, %' if 'pgd' in measure else 'percent', curves)


def against(records: list[dict], baseline: str, methods: tuple[str, ...], measures: tuple[str, ...]) -> dict:
    """Differences of some methods of a study to another of its methods."""
    return differences(
        [record for record in records if record['values']['method'] in (baseline, *methods)], baseline, measures
    )


def movement_at_start(records: list[dict]) -> dict:
    """How far the attack moves features of an untrained encoder, by eps, of each record's data."""
    names = {'fashion-mnist': 'fashion', 'openclipart': 'drawings'}
    found = {
        next(short for name, short in names.items() if name in record['config']): record['values'] for record in records
    }
    return {eps: {name: values[eps]['attack'] for name, values in found.items()} for eps in found['fashion']}


BY_MODEL = {
    'MAE ViT-B': '{mae_vit-b_800e}',
    'AEMIM ViT-B': '{aemim_vit-b_800e}',
    'AEMIM ViT-L': '{aemim_vit-l_800e}',
}
DEMO_COLUMNS = {
    'encoder': '{name}',
    'linear probe': '{linear:.1f}',
    '20-NN': '{knn:.1f}',
    'fine-tuned with 500 labels': '{tuned:.1f}',
    'pre-training, one core': '{seconds:.0f} s',
}
PROBE_COLUMNS = dict(list(DEMO_COLUMNS.items())[:3])
ATTACK_COLUMNS = {
    'start': '{name}',
    'clean': '{clean:.1f}',
    'PGD, eps 2': '{pgd/2:.1f}',
    'PGD, eps 4': '{pgd/4:.1f}',
    'PGD, eps 8': '{pgd/8:.1f}',
    'corrupted': '{corrupted:.1f}',
}
GPU_COLUMNS = {
    'GPU': '{name}',
    'products, TFLOP/s': '{peak}',
    'memory, TB/s': '{bandwidth}',
    **{title: f'{field[:-1]}:.0f}}' for title, field in BY_MODEL.items()},
}
PEER_COLUMNS = {title: form for title, form in table.STEP_COLUMNS.items() if title != 'of its MAE'}
GPU_STEP_COLUMNS = {
    'GPU, config': '{name}',
    'products, ms': '{products:.0f}',
    'other kernels, ms': '{kernels:.0f}',
    'host, ms': '{host:.0f}',
    'step of 512, ms': '{step:.0f}',
    'images/s': '{images_per_second:.0f}',
}
MEMORY_COLUMNS = {
    'config': '{name}',
    'optimizer states, DDP': '{optimizer_mb:.0f} MB',
    'with ZeRO-1, fullest of 8': '{zero1_mb:.0f} MB',
    'saved on each GPU': '{saved_gb:.1f} GB, as much as {saved_images:.0f} images keep',
    'weights, gradients, AdamW': '{fixed_gb:.1f} GB',
}
MOVEMENT_COLUMNS = {'eps': '{name}', 'Fashion-MNIST': '{fashion:.2f}', 'drawings': '{drawings:.2f}'}
HEADLINE_MEASURES = ('linear', 'fine_tuned', 'pgd_8', 'corrupted')
HEADLINE_MEASURES += ('4000-labels/fine_tuned', '4000-labels/pgd_8', 'PGD-AT/fine_tuned', 'PGD-AT/pgd_8')
TABLES = {
    'benchmark': Table('benchmark_vit-b', table.STEP_COLUMNS, lambda values: values['steps']),
    'benchmark stages': Table('benchmark_vit-b', table.STAGE_COLUMNS, lambda values: values['stages']),
    'benchmark peers': Table('benchmark_peers', PEER_COLUMNS, lambda values: values['steps']),
    'attacks': Table('attacks_vit-tiny', attack_variants.COLUMNS),
    'processes': Table('processes', table.PROCESS_COLUMNS),
    'costs': Table('costs', table.COST_COLUMNS),
    'adapters': Table('adapters_vit-b', table.ADAPTER_COLUMNS),
    'demo encoders': Table('demo', DEMO_COLUMNS, demo_encoders),
    'demo hpm': Table('demo_hpm', PROBE_COLUMNS, probed('HPM')),
    'demo hpm half': Table('demo_hpm_half', PROBE_COLUMNS, probed('HPM')),
    'demo ibot': Table('demo_ibot', PROBE_COLUMNS, probed('iBOT')),
    'demo cim': Table('cim', PROBE_COLUMNS, probed('CIM')),
    'demo openclipart': Table('demo_openclipart', PROBE_COLUMNS, probed('MAE')),
    'demo networks': Table('demo', ATTACK_COLUMNS, plain_networks),
    'demo robust networks': Table('demo', ATTACK_COLUMNS, lambda values: values['robustness']),
    'instruments': Table('instruments', RANGE_COLUMNS, ranges),
    'memory': Table('costs', MEMORY_COLUMNS, memory),
    'gpu hours': Table('costs', GPU_COLUMNS, gpu_hours),
    'gpu steps': Table('costs', GPU_STEP_COLUMNS, gpu_steps),
    'presets means': Table('studies/presets', mean_columns, means),
    'presets differences': Table('studies/presets', DIFFERENCE_COLUMNS, differences),
    'encoder tuning means': Table('studies/encoder-tuning', mean_columns, means),
    'encoder tuning differences': Table('studies/encoder-tuning', DIFFERENCE_COLUMNS, differences),
    'attack effects on MAE': Table('studies/attack-effects', effects.COLUMNS, partial(effects.effects, method='mae')),
    'budget search': Table('studies/budget-search', mean_columns, means),
    'budget drawings': Table('studies/budget-drawings', mean_columns, means),
    'headline means': Table('studies/headline', mean_columns, lambda records: means(whole_seeds(records))),
    'headline epochs': Table(
        'studies/headline',
        DIFFERENCE_COLUMNS,
        partial(against, baseline='mae', methods=('aemim',), measures=HEADLINE_MEASURES),
    ),
    'headline time': Table(
        'studies/headline',
        DIFFERENCE_COLUMNS,
        partial(
            against,
            baseline='mae-long',
            methods=('aemim', 'balanced', 'noise', 'hpm', 'cim'),
            measures=HEADLINE_MEASURES,
        ),
    ),
    'headline simmim': Table(
        'studies/headline',
        DIFFERENCE_COLUMNS,
        partial(against, baseline='simmim', methods=('aesimmim',), measures=HEADLINE_MEASURES),
    ),
    'movement': Table('movement', MOVEMENT_COLUMNS, movement_at_start),
    'claims': Table('studies', claims.COLUMNS, claims.claims),
    'largest batches': Table('costs', {'memory, GB': '{name}', **BY_MODEL}, largest_batches),
}
CHARTS = {
    'robustness by eps': Drawing(
        'studies/budget-search',
        partial(by_eps, measure='pgd_8', title='Robustness after fine-tuning', what='PGD with 10 steps and eps 8'),
    ),
    'drawings by eps': Drawing(
        'studies/budget-drawings',
        partial(
            by_eps,
            measure='moved_8',
            title='Features of drawings under attack',
            what='How far 20 steps of the feature attack, eps 8, move the features of test images',
        ),
    ),
    'features moved': Drawing('studies/attack-effects', partial(effects.chart, method='mae', what='moved')),
    'loss rises': Drawing('studies/attack-effects', partial(effects.chart, method='mae', what='loss')),
}
