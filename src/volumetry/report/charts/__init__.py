"""The charts of a study (Altair), a module each: ``draw`` makes a figure of an aggregated study.

Each chart has one panel for each (dataset, architecture). Filled marks are results, hollow ones
rest on a run that did not converge. Their names and words stand in ``report.catalogue``.
"""

import io
import os
import re
from importlib import import_module
from pathlib import Path

import altair as alt
import vl_convert
import xarray as xr
from PIL import Image

from volumetry.report.catalogue import CHARTS
from volumetry.report.figure import Figure


def draw_figure(name: str, study: xr.Dataset) -> Figure:
    """Draw one of ``CHARTS``. One that the study cannot fill is a sentence that says so."""
    return import_module(CHARTS[name].module).draw(study)


def draw_chart(name: str, study: xr.Dataset) -> alt.TopLevelMixin:
    """The same as one chart."""
    return draw_figure(name, study).together()


COLUMN_MM = {"single": 85.0, "double": 178.0}
"""Widths of a figure in a paper, by the columns of text that it goes over."""

_IN_PAPER = {"single": {"columns": 1, "width": 290}, "double": {"columns": 2, "width": 320}}
_DOTS_PER_MM = 600 / 25.4


def save_for_paper(figure: Figure, columns: str, svg: Path, png: Path, pdf: Path) -> None:
    """Write a figure as wide as ``COLUMN_MM`` says, in letters of 8 points about, 600 dots an inch.

    Args:
        columns: single or double.
    """
    drawn = vl_convert.vegalite_to_svg(
        figure.together(**_IN_PAPER[columns]).to_json(validate=False)
    )
    size = re.search(r' width="(\d+)" height="(\d+)"', drawn)
    pixels, high = map(int, size.groups())
    wide = COLUMN_MM[columns]
    in_mm = f' width="{wide}mm" height="{wide * high / pixels:.2f}mm"'
    drawn = drawn.replace(size[0], in_mm, 1)
    svg.write_text(drawn, encoding="utf-8")
    png.write_bytes(vl_convert.svg_to_png(drawn, scale=25.4 / 96 * _DOTS_PER_MM))
    pdf.write_bytes(vl_convert.svg_to_pdf(drawn))


_MOST_PIXELS = 10_000_000
"""Of an image that is packed well: larger ones would take seconds."""


def save(chart: alt.TopLevelMixin, svg: str | os.PathLike, png: str | os.PathLike) -> None:
    """Write a chart as SVG and, at twice its size, as PNG."""
    drawn = vl_convert.vegalite_to_svg(chart.to_json(validate=False))
    Path(svg).write_text(drawn, encoding="utf-8")
    Path(png).write_bytes(_smaller(vl_convert.svg_to_png(drawn, scale=2)))


def _smaller(png: bytes) -> bytes:
    """The same image in a third of the bytes: vl-convert compresses quickly, not well."""
    width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))  # PNG, 11.2.1
    if width * height > _MOST_PIXELS:
        return png
    packed = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(packed, "PNG", dpi=image.info.get("dpi"))
    return packed.getvalue()
