"""The charts of a study (Altair), a module each: ``draw`` makes a figure of an aggregated study.

Each chart has one panel for each (dataset, architecture). Filled marks are results, hollow ones
rest on a run that did not converge. Their names and words stand in ``report.catalogue``.
"""

import os
from importlib import import_module
from pathlib import Path

import altair as alt
import vl_convert
import xarray as xr

from volumetry.report.catalogue import CHARTS
from volumetry.report.figure import Figure


def draw_figure(name: str, study: xr.Dataset) -> Figure:
    """Draw one of ``CHARTS``. One that the study cannot fill is a sentence that says so."""
    return import_module(CHARTS[name].module).draw(study)


def draw_chart(name: str, study: xr.Dataset) -> alt.TopLevelMixin:
    """The same as one chart."""
    return draw_figure(name, study).together()


def save(chart: alt.TopLevelMixin, svg: str | os.PathLike, png: str | os.PathLike) -> None:
    """Write a chart as SVG and, at twice its size, as PNG."""
    drawn = vl_convert.vegalite_to_svg(chart.to_json())
    Path(svg).write_text(drawn, encoding="utf-8")
    Path(png).write_bytes(vl_convert.svg_to_png(drawn, scale=2))
