"""Slope of the advantage against ln n, at every protocol and on every scale, with its interval."""

import altair as alt
import xarray as xr

from volumetry.report.answer import PROTOCOL_NAMES, SCALE_NAMES
from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style
from volumetry.results.roles import TRAINED

_UNITS = {
    "accuracy": "fraction",
    "log_error": "nats of error ratio",
    "rareness": "nats",
}


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart: a panel for each scale of each case, for the scales differ in their units."""
    otherwise = "No trend of the advantage: it takes trained networks and a reference at two sizes."
    if "advantage_trend" not in study:
        return Figure([], [], otherwise)
    trained = study.sel(sampler=[s for s in study["sampler"].values if s in TRAINED])
    styles = [style(s) for s in trained["sampler"].values]
    legend = parts.legend("label", styles)
    names = list(PROTOCOL_NAMES.values())
    charts = []
    for title, part in parts.panels(trained, "advantage_trend"):
        for scale in part["scale"].values:
            rows = parts.summary_table(part.sel(scale=scale, drop=True), "advantage_trend")
            if rows.empty:
                continue
            rows["protocol"] = rows["protocol"].map(PROTOCOL_NAMES)
            x = alt.X(
                "value:Q",
                title=f"Slope per factor e in n ({_UNITS[scale]})",
                scale=alt.Scale(
                    domain=parts.span(rows[["value", "low", "high"]], include=[0]), nice=False
                ),
                axis=alt.Axis(labelExpr=parts.SIGNED, tickCount=5),
            )
            y = alt.Y("protocol:N", title=None, scale=alt.Scale(domain=names))
            offset = alt.YOffset("label:N", scale=alt.Scale(paddingOuter=0.4))
            zero = parts.zero_line(x=x)
            base = alt.Chart(rows).encode(y=y, yOffset=offset, color=legend["color"])
            tooltip = [
                *parts.told(("protocol:N", "protocol")),
                *parts.tooltips("slope", "+.4f")[1:],
            ]
            bars = base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(
                x=parts.at(x, "low"), x2=alt.X2("high:Q")
            )
            marks = parts.points(base.encode(x=x, shape=legend["shape"], tooltip=tooltip))
            about = [title, SCALE_NAMES[scale]]
            charts.append((about, [zero, bars, *marks]))
    return Figure(charts, styles, otherwise, height=150)
