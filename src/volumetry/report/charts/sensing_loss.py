"""Generalisation loss of what fits in matrix sensing, over architectures."""

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.charts import by_architecture, parts
from volumetry.report.figure import Figure


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    return by_architecture.draw(
        study,
        "test_loss_mean",
        _axis,
        ("generalisation loss", ".3g"),
        "No generalisation loss: no run of the study got below epsilon.",
    )


def _axis(rows: pd.DataFrame) -> alt.Y:
    ticks = parts.log_ticks(rows[["value", "low", "high"]].to_numpy(float), least=1e-9)
    return alt.Y(
        "value:Q",
        title="Generalisation loss (logarithmic)",
        scale=alt.Scale(type="log", domain=[ticks[0], ticks[-1]], nice=False, clamp=True),
        axis=alt.Axis(values=ticks, format="~g"),
    )
