"""Train and test with a config: from the file to a run of mmengine's Runner. The command-line tools call this."""

from .config import load_config
from .errors import one_clear_error
from .run import build_runner, test, train

__all__ = ['build_runner', 'load_config', 'one_clear_error', 'test', 'train']
