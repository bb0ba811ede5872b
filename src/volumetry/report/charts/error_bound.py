"""Bound on the error of the random interpolator, and the measured error, against n."""

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import Series
from volumetry.results.roles import ANY_REFERENCE
from volumetry.study.palette import INK, VERMILION

_BOUND = Series("Upper bound from the log-volume alone (95 %)", VERMILION, "triangle-down")
_ERROR = Series("Measured error of the random interpolator", INK, "cross")


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    styles = [_BOUND, _ERROR]
    legend = parts.legend("label", styles)
    y = alt.Y(
        "value:Q", title="Error (fraction of examples)", scale=alt.Scale(domain=[0, 1], nice=False)
    )
    charts = []
    for title, part in parts.panels(study, "error_bound", "gibbs_error"):
        rows = [
            parts.summary_table(part, name).assign(label=series.label)
            for name, series in (("error_bound", _BOUND), ("gibbs_error", _ERROR))
        ]
        rows = pd.concat(rows, ignore_index=True)
        rows = rows.assign(x=rows["n"])
        x, tooltip = parts.n_axis(rows["n"]), parts.tooltips("error", ".4f")
        charts.append((title, parts.curve(rows, x, y, legend, tooltip)))
    return Figure(charts, styles, f"No bound: the study has no {ANY_REFERENCE}.")
