"""Test accuracy of every sampler against n, with its 95 % interval."""

import altair as alt
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    summary = "test_accuracy_mean"
    tables = [
        (title, parts.summary_table(part, summary)) for title, part in parts.panels(study, summary)
    ]
    limits = parts.span(*(rows[["value", "low", "high"]] for _, rows in tables), include=[1])
    scale = alt.Scale(domain=[max(limits[0], 0), 1], nice=False)
    y = alt.Y("value:Q", title="Test accuracy Q (fraction of test examples)", scale=scale)
    styles = [style(s) for s in study["sampler"].values]
    legend = parts.legend("label", styles)
    charts = []
    for title, rows in tables:
        rows = parts.by_sampler(rows, study["sampler"].values)
        x, tooltip = parts.n_axis(rows["n"]), parts.tooltips("test accuracy", ".4f")
        curve = parts.curve(rows, x, y, legend, tooltip, band=False)
        charts.append((title, curve))
    return Figure(charts, styles, "No test accuracy: no run of the study fitted its training set.")
