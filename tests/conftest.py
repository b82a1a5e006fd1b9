"""Shared fixtures: the tiny models, a quiet logger, and nothing left over from another test's training."""

import logging
import os

# Before torch is imported, and for the processes that tests start: on tiny tensors, threads only wait for each other.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
from helpers import tiny as tiny_models
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope

import aemim_mm  # noqa: F401  registers the models


@pytest.fixture
def tiny():
    """The module ``tests/helpers/tiny.py``."""
    return tiny_models


@pytest.fixture(autouse=True)
def quiet_logger():
    MMLogger.get_current_instance().setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def no_scope():
    """A runner leaves the scope of its config: one of mmdet would have later tests look for models there."""
    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def no_progress():
    """``iter`` and ``max_iters`` steer the weight schedule."""
    hub = MessageHub.get_current_instance()
    hub.runtime_info.clear()
    yield hub
    hub.runtime_info.clear()
