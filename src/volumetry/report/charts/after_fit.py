"""Advantage over the random interpolator against the epochs that follow a network's first fit."""

import altair as alt
import numpy as np
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style
from volumetry.results.roles import TRAINED


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart: of the first trained sampler, a line for each n."""
    otherwise = "No course of the advantage: it takes trained networks and a reference."
    trained = [s for s in study["sampler"].values if s in TRAINED]
    if "advantage_after_fit" not in study or not trained:
        return Figure([], [], otherwise)
    part = study.sel(sampler=trained[0])
    tables = [
        (title, parts.summary_table(case, "advantage_after_fit"))
        for title, case in parts.panels(part, "advantage_after_fit")
    ]
    if not tables:
        return Figure([], [], otherwise)
    looks = sorted({int(look) for _, rows in tables for look in rows["epochs_after_fit"]})
    # 0 has no place on a logarithmic axis: it stands one step before 1.
    axis = alt.X(
        "x:Q",
        title="Epochs after the first fit (logarithmic)",
        scale=alt.Scale(type="log", domain=[0.25, max(1.0, 1.3 * looks[-1])], nice=False),
        axis=alt.Axis(
            values=[0.33, *looks[1:]],
            labelExpr="datum.value < 1 ? 'first fit' : format(datum.value, ',d')",
            grid=False,
        ),
    )
    y = alt.Y(
        "value:Q",
        title=f"Advantage of {style(trained[0]).label} (fraction of test examples)",
        scale=alt.Scale(
            domain=parts.span(*(rows[["value", "low", "high"]] for _, rows in tables), include=[0]),
            nice=False,
        ),
    )
    sizes = sorted({int(n) for _, rows in tables for n in rows["n"]})
    styles = parts.by_size(sizes)
    legend = parts.legend("label", styles)
    charts = []
    for title, rows in tables:
        place = rows["n"].map(sizes.index) - (len(sizes) - 1) / 2
        rows = rows.assign(
            label=[f"n = {n}" for n in rows["n"]],
            x=np.maximum(rows["epochs_after_fit"], 0.33) * 1.06**place,
        )
        zero = parts.zero_line(y=y)
        tooltip = [
            alt.Tooltip("epochs_after_fit:Q", title="epochs after the first fit"),
            *(each for each in parts.tooltips("advantage", "+.4f") if each.title != "sampler"),
        ]
        curve = parts.curve(rows, axis, y, legend, tooltip, band=False)
        charts.append((title, [zero, *curve]))
    return Figure(charts, styles, otherwise)
