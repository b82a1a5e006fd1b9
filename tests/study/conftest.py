"""A small study, and records as its runs would write them."""

import pytest
from helpers import runs

MEASURED = ('linear', 'knn', 'fine_tuned', 'pgd_2', 'pgd_8', 'corrupted')
STUDY = """
_small = ['model.backbone.arch.num_layers=1', 'train_dataloader.dataset.limit=64']
methods = {{
    'exact': dict(config={aemim!r}),
    'fast': dict(config={aemim!r}, options=['model.adv_share=0.25']),
}}
baseline = 'exact'
seeds = [0, 1]
options = _small
fine_tuning = dict(config={tuning!r}, options=_small)
attacked_images = 20
primary = 'linear'
"""


@pytest.fixture
def study_file(tmp_path):
    """Write a study of two methods and two seeds; return its path."""
    path = tmp_path / 'some.py'
    tuning = runs.CONFIGS / 'demo/vit-tiny_16e_fashion-mnist.py'
    path.write_text(STUDY.format(aemim=str(runs.AEMIM), tuning=str(tuning)))
    return path


@pytest.fixture
def values_of():
    """Return a function that makes the values of a record from the accuracy that all measures have."""

    def make(method, accuracy, config_hash='', measures=MEASURED):
        return dict(
            method=method,
            config_hash=config_hash,
            study=dict(methods=['exact', 'fast'], baseline='exact', primary='linear'),
            measures=dict.fromkeys(measures, accuracy),
            seconds={'pre-training': 10.0},
            cpu_seconds={'pre-training': 9.0},
        )

    return make
