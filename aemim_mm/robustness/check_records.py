"""Sanity checks of robust figures, as functions of measured values, for classifiers and detectors.

Each function returns one record. A failed check means that the measured robustness may be too high. Accuracies and APs
are in percent; ``figure`` is the name of the figure in the record.

Source: Carlini et al., arXiv 1902.06705, sections 4 and 5; Athalye et al., arXiv 1802.00420, section 3.1.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """The outcome of one check: its name, whether it passed, the measured value, and what the value means."""

    name: str
    passed: bool
    value: float
    explanation: str


def check_eps_zero(clean: float, at_zero: float, figure: str = 'accuracy') -> Check:
    """Check that the figure under an attack with eps 0 is the clean figure."""
    return Check(
        f'eps 0 equals clean {figure}',
        clean == at_zero,
        at_zero - clean,
        f'Clean {figure} is {clean:.2f} %, under attack with eps 0 {at_zero:.2f} %. A difference means that what is '
        'attacked is not the tested model: another normalisation, mode or precision.',
    )


def check_falls(what: str, values: dict, tolerance: float = 1.0, figure: str = 'accuracy') -> Check:
    """Check that a figure does not rise as ``what`` grows.

    Args:
        what: Name of the parameter that grows, ``eps`` or ``steps``.
        values: Value of the parameter to the figure under attack.
        tolerance: The largest rise, in points, that passes.
        figure: Name of the figure.
    """
    found = [values[key] for key in sorted(values)]
    rise = max((later - min(found[:i]) for i, later in enumerate(found) if i), default=0.0)
    measured = ', '.join(f'{key:g}: {values[key]:.2f}' for key in sorted(values))
    return Check(
        f'{figure} falls with {what}',
        rise <= tolerance,
        rise,
        f'Robust {figure} in percent, by {what}: {measured}. A rise above {tolerance:g} points means that the attack '
        'does not converge: take more steps, a smaller step size or restarts.',
    )


def check_large_eps(value: float, eps: float, floor: float = 0.0, figure: str = 'accuracy') -> Check:
    """Check that an attack whose budget allows any image breaks all images.

    Args:
        value: The figure under attack at ``eps``.
        eps: The large radius.
        floor: The highest value that passes.
        figure: Name of the figure.
    """
    return Check(
        'a large eps breaks everything',
        value <= floor,
        value,
        f'Robust {figure} at eps {eps:g}, where any image is allowed, is {value:.2f} %, and should be at most '
        f'{floor:g} %. More means that gradients do not lead the attack: gradient masking.',
    )


def check_black_box(
    white_box: float, black_box: float, name: str, tolerance: float = 1.0, figure: str = 'accuracy'
) -> Check:
    """Check that an attack without gradients is not stronger than the white-box attack.

    Args:
        white_box, black_box: The figure under each attack at the same budget.
        name: Name of the black-box attack.
        tolerance: How many points the black-box attack may be stronger.
        figure: Name of the figure.
    """
    return Check(
        'no black-box attack beats the white-box one',
        black_box >= white_box - tolerance,
        white_box - black_box,
        f'Robust {figure} is {white_box:.2f} % under the white-box attack, {black_box:.2f} % under {name}. If the '
        'second is lower, gradients mislead the attack (gradient masking), and the white-box number is too high.',
    )


def check_share_of_zero_gradients(zero: float, advice: str, tolerance: float = 0.05) -> Check:
    """Check that gradients with respect to the image are not exactly zero.

    Args:
        zero: Share of the images whose gradient is exactly zero, from 0 to 1.
        advice: What to do if it is.
        tolerance: The largest share that passes.
    """
    return Check(
        'gradients are not zero',
        zero <= tolerance,
        zero,
        f'{zero:.1%} of the images have an input gradient of exactly zero. {advice}',
    )


def check_repeated(difference: float, tolerance: float = 1e-4) -> Check:
    """Check that a second pass over the same images gives the same result.

    Args:
        difference: The difference of the two, relative to the first.
        tolerance: The largest difference that passes.
    """
    return Check(
        'the model is deterministic',
        difference <= tolerance,
        difference,
        f'Two passes over the same images differ by {difference:.2g}, relative to the result. A randomised model needs '
        'an attack on the expectation over its randomness (expectation over transformation).',
    )
