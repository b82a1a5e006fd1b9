"""What of the log is shown on the screen."""

import logging
import re

# A line for each parameter: how it was initialized, its options in the optimizer, or that it is frozen.
PER_PARAMETER = re.compile(
    r'\s*(\S+ - torch\.Size\(|paramwise_options -- |\S+ is skipped since its requires_grad=False)'
)


def keep_parameter_lists_off_screen(logger: logging.Logger) -> None:
    """Log the lines about single parameters to the files only.

    mmengine logs several lines for each parameter: hundreds for a ViT, before the first line about training.

    Args:
        logger: A logger with its handlers, as mmengine's Runner builds it.
    """
    for handler in logger.handlers:
        # A FileHandler is a StreamHandler, too.
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(_is_not_per_parameter)


def _is_not_per_parameter(record: logging.LogRecord) -> bool:
    return PER_PARAMETER.match(record.getMessage()) is None
