"""-d ln V/dn between successive sizes against -ln Qr at each size, both of the reference."""

import altair as alt
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import Series
from volumetry.results.roles import ANY_REFERENCE
from volumetry.study.palette import BLUE, VERMILION

_SLOPE = Series("−d ln V/dn, from the volume", VERMILION, "stroke")
_MINUS_LOG = Series("−ln Qr, from the test accuracy", BLUE, "circle")


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    styles = [_SLOPE, _MINUS_LOG]
    legend = parts.legend("label", styles)
    charts = []
    needed = "log_volume_slope_start", "slope_too_large", "minus_log_accuracy_mean"
    for title, part in parts.panels(study, "log_volume_slope_mean", *needed):
        steps = parts.summary_table(part, "log_volume_slope_mean").assign(label=_SLOPE.label)
        start = part["log_volume_slope_start"].to_series()
        # n = 0 has no place on a logarithmic axis: the first step begins at its left end.
        left = 0.5
        detectable = part["slope_too_large"].to_series()
        steps["too_large"] = steps["n"].map(detectable)
        steps["start"] = steps["n"].map(start).clip(lower=left * steps["n"].min())
        points = parts.summary_table(part, "minus_log_accuracy_mean")
        points = points.assign(label=_MINUS_LOG.label)
        limits = parts.span(steps[["value", "low", "high"]], points[["value", "low", "high"]])
        scale = alt.Scale(domain=[min(limits[0], 0), limits[1]], nice=False)
        y = alt.Y("value:Q", title="Nats for each further example", scale=scale)
        x, tooltip = parts.n_axis([*steps["n"], *points["n"]], left), parts.tooltips("nats", ".4f")
        steps, points = (rows.assign(x=rows["n"]) for rows in (steps, points))
        power = parts.told(("too_large:Q", "ln V too large by, noticed", ".2f"))
        step = alt.Chart(steps).encode(x=x, x2=alt.X2("start:Q"), color=legend["color"])
        step = step.encode(tooltip=[*tooltip, *power])
        point = alt.Chart(points).encode(x=x, color=legend["color"])
        layers = [
            step.mark_rect(opacity=0.15, stroke=None).encode(**parts.ends(y)),
            step.mark_rule(strokeWidth=3).encode(y=y, strokeDash=parts.dashed()),
            point.mark_rule(strokeWidth=1.5).encode(**parts.ends(y)),
            *parts.points(point.encode(y=y, shape=legend["shape"], tooltip=tooltip)),
        ]
        charts.append((title, layers))
    return Figure(
        charts,
        styles,
        f"No check of the volume against the accuracy: the study has no {ANY_REFERENCE}.",
    )
