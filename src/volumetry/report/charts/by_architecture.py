"""A quantity of matrix sensing, architecture beside architecture: what the two charts share."""

from collections.abc import Callable, Sequence

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style

_STEP = 0.07
"""Between the marks of two samplers, architectures apart."""


def draw(
    study: xr.Dataset,
    summary: str,
    y_of: Callable[[pd.DataFrame], alt.Y],
    tooltip: Sequence[str],
    otherwise: str,
) -> Figure:
    """A panel for each dataset and n, a line for each sampler.

    Args:
        summary: variable of the study, with its interval.
        y_of: makes the axis from all rows.
        tooltip: name and format of the value.
        otherwise: what to say if nothing has the quantity.
    """
    if summary not in study:
        return Figure([], [], otherwise)
    names = [str(name) for name in study["architecture"].values]
    tables = []
    for dataset in study["dataset"].values:
        for n in study["n"].values:
            rows = parts.summary_table(study.sel(dataset=dataset, n=n), summary)
            if not rows.empty:
                tables.append((f"{dataset} · n = {n}", rows.assign(n=int(n))))
    if not tables:
        return Figure([], [], otherwise)
    shown = {name for _, rows in tables for name in rows["sampler"]}
    samplers = [name for name in study["sampler"].values if name in shown]
    styles = [style(name) for name in samplers]
    legend, y = parts.legend("label", styles), y_of(pd.concat([rows for _, rows in tables]))
    ticks = f"[{', '.join(repr(name) for name in names)}][datum.value]"
    x = alt.X(
        "x:Q",
        title="Architecture",
        scale=alt.Scale(domain=[-0.4, len(names) - 0.6], nice=False),
        axis=alt.Axis(values=list(range(len(names))), labelExpr=ticks, grid=False),
    )
    charts = []
    for title, rows in tables:
        middle = (len(samplers) - 1) / 2
        place = rows["architecture"].map(names.index) * 1.0
        rows = rows.assign(x=place + _STEP * (rows["sampler"].map(samplers.index) - middle))
        told = [*parts.told(("architecture:N", "architecture")), *parts.tooltips(*tooltip)]
        charts.append((title, parts.curve(rows, x, y, legend, told, band=False)))
    return Figure(charts, styles, otherwise)
