"""From a config file and options to a run of mmengine's Runner; the command-line tools are thin above it."""

from .config import load_config
from .errors import one_clear_error
from .run import build_runner, test, train

__all__ = ['build_runner', 'load_config', 'one_clear_error', 'test', 'train']
