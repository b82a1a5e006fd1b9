"""The domain is a mode of a model, like ``train()`` and ``eval()``: clean images or adversarial ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from torch import nn


class Domain(Enum):
    """Which set of adapter weights a split layer uses; CLEAN is the default everywhere."""

    CLEAN = 'clean'
    ADV = 'adv'


class DomainModule(nn.Module):
    """Marks a module whose ``forward`` depends on the domain (see ``aemim_mm.adapters``)."""

    domain = Domain.CLEAN

    def __getstate__(self):
        # A copy outlives the ``with`` block in which it was made, so it starts in the default domain.
        return {name: value for name, value in vars(self).items() if name != 'domain'}


@contextmanager
def use_domain(model: nn.Module, domain: Domain) -> Iterator[nn.Module]:
    """Switch all split layers of ``model`` to ``domain``, and restore each one's previous domain at the end.

    Nests, and restores after an exception too.

    Args:
        model: Any module; one without split layers is left as it is.
        domain: The domain to switch to.

    Raises:
        TypeError: ``domain`` is not a :class:`Domain`.

    Example:
        >>> with use_domain(model, Domain.ADV):
        ...     features = model.extract_feat(x_adv)
    """
    if not isinstance(domain, Domain):
        raise TypeError(f'domain must be Domain.CLEAN or Domain.ADV, but got {domain!r}.')
    previous = [(module, module.domain) for module in model.modules() if isinstance(module, DomainModule)]
    try:
        for module, _ in previous:
            module.domain = domain
        yield model
    finally:
        for module, before in previous:
            module.domain = before
