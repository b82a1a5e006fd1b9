"""Shared fixtures: tiny models, a quiet logger, and no global state of another test."""

import gc
import logging
import os

# Imports make half a million objects that stay. Until they are made, collections only cost time.
gc.disable()

# Set before torch is imported, and inherited by processes that tests start. On tiny tensors, threads only cost time.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
from helpers import tiny as tiny_models
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope

import aemim_mm  # noqa: F401  registers the models


def pytest_collection_finish():
    leave_out_of_collections()
    gc.enable()


@pytest.fixture(autouse=True, scope='module')
def leave_out_of_collections_what_a_module_keeps():
    yield
    leave_out_of_collections()


def leave_out_of_collections():
    """Leave what imports and caches keep out of garbage collections: mmengine starts two for each data set."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tiny():
    """The module ``tests/helpers/tiny.py``."""
    return tiny_models


@pytest.fixture(autouse=True)
def quiet_logger():
    MMLogger.get_current_instance().setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def no_scope():
    """Forget the scope that a runner left: in mmdet's scope, later tests would not find mmpretrain's models."""
    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def no_progress():
    """Forget ``iter`` and ``max_iters``, which the weight schedule reads."""
    hub = MessageHub.get_current_instance()
    hub.runtime_info.clear()
    yield hub
    hub.runtime_info.clear()
