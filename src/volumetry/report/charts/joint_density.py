"""Joint density of A and the test accuracy under uniform weights, from joint, with its ridge."""

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.results.roles import JOINT
from volumetry.results.views import cases
from volumetry.study.palette import VERMILION

_MOST_COLUMNS = 60
_RIDGE = parts.Series("mean accuracy at A", VERMILION, "stroke")


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart: a panel for the largest n of each case, of its first replicate."""
    otherwise = f"No joint density: the study has no {JOINT} that met any."
    if "log_p_joint" not in study:
        return Figure([], [], otherwise)
    styles = [_RIDGE]
    legend = parts.legend("label", styles)
    charts = []
    for dataset, architecture, part in cases(study[["log_p_joint"]]):
        density = part["log_p_joint"]
        met = density.notnull().any(["A", "coarse_accuracy"])
        if not met.any():
            continue
        n = int(met["n"].values[met.any("replicate").values][-1])
        replicate = met["replicate"].values[met.sel(n=n).values][0]
        cells, ridge = _tables(density.sel(n=n, replicate=replicate).values[: n + 1], density)
        x = alt.X(
            "A:Q",
            title="A, training examples right",
            scale=_scale(-0.5, n + 0.5),
            axis=alt.Axis(tickMinStep=1, format="d", grid=False),
        )
        y = alt.Y(
            "accuracy:Q",
            title="Test accuracy Q",
            axis=alt.Axis(grid=False),
            scale=_scale(cells["accuracy"].min(), cells["top"].max()),
        )
        tooltip = parts.told(
            ("A:Q", "A from"),
            ("accuracy:Q", "test accuracy from", ".3f"),
            ("value:Q", "ln density (nats)", ".1f"),
        )
        map_ = (
            alt.Chart(cells)
            .mark_rect()
            .encode(
                x=x,
                x2=alt.X2("end:Q"),
                y=y,
                y2=alt.Y2("top:Q"),
                fill=alt.Fill(
                    "value:Q",
                    title="ln density (nats)",
                    scale=alt.Scale(scheme="viridis"),
                    legend=alt.Legend(gradientLength=120, titleLimit=0, orient="right"),
                ),
                tooltip=tooltip,
            )
        )
        line = alt.Chart(ridge).mark_line(strokeWidth=2.5).encode(x=x, y=y, color=legend["color"])
        charts.append((f"{dataset} · {architecture}, n = {n}", [map_, line]))
    return Figure(charts, styles, otherwise)


def _scale(low: float, high: float) -> alt.Scale:
    return alt.Scale(domain=[float(low), float(high)], nice=False, zero=False)


def _tables(values: np.ndarray, density: xr.DataArray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells of the map, a few levels of A in one where there are many; the ridge, level by level.

    Args:
        values: (A, accuracies): ln density, NaN where nothing is known.
    """
    accuracy = density["coarse_accuracy"].values
    half = (accuracy[1] - accuracy[0]) / 2
    width = -(-len(values) // _MOST_COLUMNS)
    cells, ridge = [], []
    for first in range(0, len(values), width):
        rows = values[first : first + width]
        known = np.where(np.isnan(rows), -np.inf, rows)
        mean = np.logaddexp.reduce(known, axis=0) - np.log(len(rows))
        place = {"A": first - 0.5, "end": first + len(rows) - 0.5}
        cells += [
            place
            | {
                "accuracy": max(0.0, q - half),
                "top": min(1.0, q + half),
                "value": round(float(v), 2),
            }
            for q, v in zip(accuracy, mean)
            if np.isfinite(v)
        ]
        if np.isfinite(mean).any():
            weight = np.exp(mean - mean.max())
            at = first + (len(rows) - 1) / 2
            ridge.append({"A": at, "accuracy": float(weight @ accuracy / weight.sum())})
    return pd.DataFrame(cells), pd.DataFrame(ridge).assign(label=_RIDGE.label)
