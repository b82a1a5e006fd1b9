"""Convert encoders to and from the tensor names of other libraries; see docs/export.md."""

from .convert import TARGETS, ExportReport, export
from .source import read_source
from .spec import EncoderSpec

__all__ = ['TARGETS', 'EncoderSpec', 'ExportReport', 'export', 'read_source']
