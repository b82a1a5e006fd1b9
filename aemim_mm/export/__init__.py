"""Encoders under the names of other libraries, in both directions; see docs/export.md."""

from .convert import TARGETS, ExportReport, export
from .source import read_source
from .spec import EncoderSpec

__all__ = ['TARGETS', 'EncoderSpec', 'ExportReport', 'export', 'read_source']
