"""AEMIM for OpenMMLab: adversarial masked image modeling (arXiv 2407.11537) with the mmpretrain and mmdet runners.

Importing this package registers everything that needs no detection; ``custom_imports`` of a config does it.
"""

from .quiet import without_false_alarms
from .stack import check_stack

check_stack()

with without_false_alarms():
    from . import datasets, engine, evaluation, robustness
    from .adapters import split_adapters
    from .apis.encoder import load_encoder
    from .apis.encoder_tuning import AdversarialEncoderTuning
    from .apis.model_index import register_models
    from .data_preprocessor import AdvDataPreprocessor
    from .domain import Domain, use_domain
    from .models import AEMIM, AEMIMViT, AESimMIM
    from .second_view import AdvTwoNormDataPreprocessor
    from .version import __version__

register_models()

__all__ = [
    'AEMIM',
    'AEMIMViT',
    'AESimMIM',
    'AdversarialEncoderTuning',
    'AdvDataPreprocessor',
    'AdvTwoNormDataPreprocessor',
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
