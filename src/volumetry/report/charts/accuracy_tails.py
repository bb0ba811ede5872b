"""ln Pr[Q >= q | A = n] of joint against q, and where the trained networks lie on it."""

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style
from volumetry.results.roles import JOINT, TRAINED


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    if "log_p_given_fit" not in study:
        return Figure([], [], f"No distribution of the accuracy: the study has no {JOINT}.")
    trained = [s for s in study["sampler"].values if s in TRAINED]
    sizes = parts.by_size(sorted(int(n) for n in study["n"].values))
    styles = [*(style(s) for s in trained), *sizes]
    legend = parts.legend("label", styles)
    charts = []
    needed = "converged", "tail_log_volume", "test_accuracy"
    for title, part in parts.panels(study, "log_p_given_fit", *needed):
        curves = _tail_curves(part)
        # The tail of a trained network is as good as the run of joint that it was taken from.
        known = part["converged"].sel(sampler=JOINT, drop=True).broadcast_like(part["converged"])
        columns = {"tail_log_volume": "tail", "test_accuracy": "accuracy", "converged": "converged"}
        points = parts.table(part.assign(converged=known).sel(sampler=trained), columns)
        points = points[np.isfinite(points["tail"])]
        curves = curves.assign(label=[f"n = {n}" for n in curves["n"]])
        y = alt.Y("tail:Q", title="ln Pr[Q ≥ q | A = n] (nats)", scale=alt.Scale(nice=False))
        x = alt.X("accuracy:Q", title="Test accuracy q", scale=alt.Scale(nice=False, zero=False))
        curves, points = (
            rows.assign(bits=parts.in_bits(rows["tail"])) for rows in (curves, points)
        )
        place = ("n:Q", "n"), ("replicate:N", "replicate")
        tail = (
            ("accuracy:Q", "test accuracy q", ".4f"),
            ("tail:Q", "ln Pr[Q ≥ q | A = n] (nats)", ".2f"),
            ("bits:Q", "the same in bits", ".2f"),
        )
        line = (
            alt.Chart(curves)
            .mark_line(strokeWidth=1.8)
            .encode(
                x=x,
                y=y,
                color=legend["color"],
                detail=alt.Detail("replicate:N"),
                strokeDash=parts.dashed(),
                tooltip=parts.told(*place, *tail, ("converged:N", "converged")),
            )
        )
        mark = alt.Chart(points).encode(
            x=x,
            y=y,
            color=legend["color"],
            shape=legend["shape"],
            tooltip=parts.told(("label:N", "sampler"), *place, *tail),
        )
        charts.append((title, [line, *parts.points(mark)]))
    return Figure(charts, styles, f"No distribution of the accuracy: {JOINT} reached none.")


def _tail_curves(part: xr.Dataset) -> pd.DataFrame:
    """ln Pr[Q >= q | A = n] on the grid of accuracies, one row a point; whether joint converged."""
    density = part["log_p_given_fit"]
    log_p = density.fillna(-np.inf).values
    tail = np.logaddexp.accumulate(log_p[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(invalid="ignore"):
        tail = tail - tail[..., :1]
    rows = density.copy(data=np.where(np.isfinite(tail), tail, np.nan)).rename("tail")
    rows = rows.where(density.notnull()).reset_coords(drop=True).to_dataset()
    rows["converged"] = part["converged"].sel(sampler=JOINT, drop=True) == 1
    return rows.to_dataframe().reset_index().dropna(subset=["tail"])
