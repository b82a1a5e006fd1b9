"""A pre-trained AEMIM and images."""

import pytest
import torch
from helpers.encoders import mae_config, randomized, saved
from helpers.tiny import build


@pytest.fixture(scope='module')
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope='module')
def large():
    """Images of another size, 7 x 5 patches."""
    return torch.randn(2, 3, 56, 40, generator=torch.Generator().manual_seed(6))


@pytest.fixture(scope='module')
def aemim():
    """A checkpoint of an AEMIM whose domains differ."""
    return randomized(build(mae_config()))


@pytest.fixture(scope='module')
def checkpoint(aemim, tmp_path_factory):
    return saved(aemim, mae_config(), tmp_path_factory.mktemp('aemim') / 'epoch_1.pth')
