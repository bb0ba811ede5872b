"""Advantage over the random interpolator against n, with its 95 % interval."""

import altair as alt
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style
from volumetry.results.roles import ANY_REFERENCE, TRAINED


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    trained = study.sel(sampler=[s for s in study["sampler"].values if s in TRAINED])
    tables = [
        (title, parts.summary_table(part, "advantage"))
        for title, part in parts.panels(trained, "advantage")
    ]
    limits = parts.span(*(rows[["value", "low", "high"]] for _, rows in tables), include=[0])
    # A wide interval of few replicates may leave [-1, 1]; an advantage cannot.
    scale = alt.Scale(domain=[max(limits[0], -1), min(limits[1], 1)], nice=False)
    y = alt.Y(
        "value:Q",
        title="Advantage Qs − Qr (fraction of test examples)",
        scale=scale,
        axis=alt.Axis(labelExpr=parts.SIGNED),
    )
    styles = [style(s) for s in trained["sampler"].values]
    legend = parts.legend("label", styles)
    charts = []
    for title, rows in tables:
        x = parts.n_axis(rows["n"])
        zero = parts.zero_line(y=y)
        rows = parts.by_sampler(rows, trained["sampler"].values)
        curve = parts.curve(rows, x, y, legend, parts.tooltips("advantage", "+.4f"))
        charts.append((title, [zero, *curve]))
    return Figure(
        charts,
        styles,
        "No advantage: the study has no test accuracy of both a trained network and "
        f"{ANY_REFERENCE}.",
    )
