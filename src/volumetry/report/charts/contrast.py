"""Test accuracy with one architecture less that with the first, against n."""

import altair as alt
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart: a panel for each dataset and each architecture but the first."""
    otherwise = "No two architectures of this study have test accuracies on the same training sets."
    summary, first = "test_accuracy_contrast", study["architecture"].values[0]
    if summary not in study:
        return Figure([], [], otherwise)
    tables = [
        (f"{title} less {first}", parts.summary_table(part, summary))
        for title, part in parts.panels(study, summary)
    ]
    limits = parts.span(*(rows[["value", "low", "high"]] for _, rows in tables), include=[0])
    y = alt.Y(
        "value:Q",
        title="Difference of test accuracy Q",
        scale=alt.Scale(domain=[max(limits[0], -1), min(limits[1], 1)], nice=False),
        axis=alt.Axis(labelExpr=parts.SIGNED),
    )
    shown = {sampler for _, rows in tables for sampler in rows["sampler"]}
    styles = [style(s) for s in study["sampler"].values if s in shown]
    legend = parts.legend("label", styles)
    charts = []
    for title, rows in tables:
        rows = parts.by_sampler(rows, study["sampler"].values)
        zero = parts.zero_line(y=y)
        tooltip = parts.tooltips("difference of accuracy", "+.4f")
        curve = parts.curve(rows, parts.n_axis(rows["n"]), y, legend, tooltip, band=False)
        charts.append((title, [zero, *curve]))
    return Figure(charts, styles, otherwise)
