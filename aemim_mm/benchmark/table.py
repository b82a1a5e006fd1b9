"""The figures of a benchmark, and the columns of the tables that show them."""

from collections.abc import Mapping
from statistics import median

from ..report.table import markdown_table
from .comparison import Measurement
from .machine import Machine
from .stages import STAGES

STEP_COLUMNS = {
    '': '{name}',
    'step, s': '{step:.2f} ±{spread:.0%}',
    'images/s': '{images_per_second:.2f}',
    'time': '{time_ratio:.2f} ({least_time_ratio:.2f}-{greatest_time_ratio:.2f})',
    'of its MAE': '{matched_ratio:.2f}',
    'memory, MB': '{memory_mb:.0f}',
    'memory': '{memory_ratio:.2f}',
    'GFLOP/image': '{gflop_per_image:.1f}',
    'FLOPs': '{flops_ratio:.2f}',
    'of peak': '{share_of_peak:.0%}',
    'gain': '{gain:.2f}',
}
COST_COLUMNS = {
    'config': '{name}',
    'trained parameters, M': '{parameters_m:.1f}',
    'GFLOP/image': '{gflop_per_image:.1f}',
    'other traffic, MB/image': '{moved_mb_per_image:.0f}',
    'activations, MB/image': '{activations_mb_per_image:.0f}',
    'optimizer states, MB': '{optimizer_mb:.0f}',
    'ZeRO-1, fullest of 8, MB': '{zero1_mb:.0f}',
}
ADAPTER_COLUMNS = {
    'adapter': '{name}',
    'parameters, thousand': '{parameters_k:.1f}',
    'of the network': '{network_share:.2%}',
    'GFLOP/image': '{gflop_per_image:.3f}',
    'of a step': '{step_share:.2%}',
}
PROCESS_COLUMNS = {
    'processes': '{name}',
    's/iteration': '{seconds:.3f}',
    'throughput, ratio': '{gain:.2f} ({least_gain:.2f}-{greatest_gain:.2f})',
    'of linear': '{of_linear:.0%}',
}
STAGE_COLUMNS = {'seconds': '{name}', **{stage: f'{{{stage}:.2f}}' for stage in STAGES}}


def figures(measurements: list[Measurement], machine: Machine, matched: Mapping[str, str] | None = None) -> dict:
    """Return all figures of a benchmark, for a record.

    Args:
        measurements: The first is the base of the ratios.
        machine: The machine, with its rates.
        matched: Name of a candidate to the name of the baseline that only lacks the method. The ratio of their times is
            given too.

    Returns:
        ``gflops_per_second``: rates of matrix products, medians; ``steps``: name to the figures of ``STEP_COLUMNS``;
        ``stages``: name to the median seconds of each stage, None for a stage that the candidate lacks;
        ``seconds``: name to the time of each repetition.
    """
    peak, by_name = median(machine.rates['float32']), {each.name: each for each in measurements}
    bases = {name: by_name[base] for name, base in (matched or {}).items()}
    return dict(
        gflops_per_second={name: median(rates) / 1e9 for name, rates in machine.rates.items()},
        steps={each.name: _step_figures(each, measurements[0], bases.get(each.name), peak) for each in measurements},
        stages={
            each.name: {stage: median(values) if any(values) else None for stage, values in each.stages.items()}
            for each in measurements
        },
        seconds={each.name: each.seconds for each in measurements},
    )


def _step_figures(measurement: Measurement, base: Measurement, matched: Measurement | None, peak: float) -> dict:
    ratios = measurement.ratios(base)
    return dict(
        step=measurement.step,
        spread=(max(measurement.seconds) - min(measurement.seconds)) / 2 / measurement.step,
        images_per_second=measurement.batch_size / measurement.step,
        time_ratio=median(ratios),
        least_time_ratio=min(ratios),
        greatest_time_ratio=max(ratios),
        matched_ratio=matched and median(measurement.ratios(matched)),
        memory_mb=measurement.memory / 1e6,
        memory_ratio=measurement.memory / base.memory,
        gflop_per_image=measurement.flops / measurement.batch_size / 1e9,
        flops_ratio=measurement.flops / base.flops,
        share_of_peak=measurement.flops / measurement.step / peak,
        gain=measurement.gain,
    )


def report(values: dict, machine: Machine) -> str:
    """Return the figures as two Markdown tables, steps and stages, below a line about the machine.

    Args:
        values: From :func:`figures`.
        machine: The machine.
    """
    rates = ', '.join(f'{name} {rate:.0f}' for name, rate in values['gflops_per_second'].items())
    return '\n\n'.join(
        [
            f'{machine.name}; matrix products, GFLOP/s: {rates}',
            markdown_table(values['steps'], STEP_COLUMNS),
            markdown_table(values['stages'], STAGE_COLUMNS),
        ]
    )
