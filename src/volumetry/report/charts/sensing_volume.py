"""Log-volume of what fits in matrix sensing, over architectures."""

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.charts import by_architecture, parts
from volumetry.report.figure import Figure


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    return by_architecture.draw(
        study,
        "log_volume_mean",
        _axis,
        ("ln V (nats)", ".3f"),
        "No log-volume: the study has no sampler that measures it.",
    )


def _axis(rows: pd.DataFrame) -> alt.Y:
    limits = parts.span(rows[["value", "low", "high"]])
    scale = alt.Scale(domain=limits, nice=False)
    return alt.Y("value:Q", title="Log-volume ln V (nats)", scale=scale)
