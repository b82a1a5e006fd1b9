"""AEMIM for OpenMMLab: adversarial masked image modeling (arXiv 2407.11537) with the mmpretrain and mmdet runners.

Importing this package registers everything that needs no detection; ``custom_imports`` of a config does it.
"""

from .stack import check_stack

check_stack()

from . import datasets, engine, evaluation, robustness  # noqa: E402
from .adapters import split_adapters  # noqa: E402
from .apis.encoder import load_encoder  # noqa: E402
from .apis.model_index import register_models  # noqa: E402
from .data_preprocessor import AdvDataPreprocessor  # noqa: E402
from .domain import Domain, use_domain  # noqa: E402
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
    'engine',
    'evaluation',
    'load_encoder',
    'robustness',
    'split_adapters',
    'use_domain',
]
