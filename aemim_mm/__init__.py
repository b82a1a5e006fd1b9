"""AEMIM for OpenMMLab: adversarial masked image modeling (arXiv 2407.11537) with the mmpretrain and mmdet runners.

Importing this package registers everything that needs no detection; ``custom_imports`` of a config does it.
"""

from .stack import check_stack

check_stack()

from . import datasets, evaluation, hooks, loops, optim  # noqa: E402
from .adapters import split_adapters  # noqa: E402
from .data_preprocessor import AdvDataPreprocessor  # noqa: E402
from .domain import Domain, use_domain  # noqa: E402
from .inference import load_encoder, register_models  # noqa: E402
from .models import AEMIM, AEMIMViT, AESimMIM  # noqa: E402
from .version import __version__  # noqa: E402

register_models()

__all__ = [
    'AEMIM',
    'AEMIMViT',
    'AESimMIM',
    'AdvDataPreprocessor',
    'Domain',
    '__version__',
    'datasets',
    'evaluation',
    'hooks',
    'load_encoder',
    'loops',
    'optim',
    'split_adapters',
    'use_domain',
]
