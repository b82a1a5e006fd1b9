"""A self-contained HTML report: charts, tables and picture panels in one file, with no script and no network."""

from .charts import Chart, Curve
from .page import Table, render_svg, write_report
from .panels import Panel

__all__ = ['Chart', 'Curve', 'Panel', 'Table', 'render_svg', 'write_report']
