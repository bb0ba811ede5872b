"""How the test accuracy of interpolators is distributed, and where trained networks lie in it."""

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.style import style
from volumetry.results.roles import TRAINED
from volumetry.results.views import cases
from volumetry.study.palette import GREY, INK


def draw(study: xr.Dataset) -> alt.TopLevelMixin:
    """Draw the chart: Pr[Q >= q | A = n] against q, a line for each n, a mark for each network."""
    otherwise = "No distribution of the accuracy: the study has no reference that reached A = n."
    if "interpolators_above" not in study:
        return parts.arrange([], otherwise)
    trained = [s for s in study["sampler"].values if s in TRAINED]
    sizes = sorted(int(n) for n in study["n"].values)
    legend = parts.legend("label", [*map(style, trained), *parts.by_size(sizes, (GREY, INK))])
    x = alt.X("accuracy:Q", title="Test accuracy q", scale=alt.Scale(nice=False, zero=False))
    y = alt.Y(
        "above:Q",
        title="Fraction of interpolators with Q ≥ q",
        scale=alt.Scale(domain=[0, 1], nice=False),
    )
    charts = []
    for dataset, architecture, part in cases(study):
        curves = _curves(part)
        if curves.empty:
            continue
        line = (
            alt.Chart(curves)
            .mark_line(strokeWidth=1.6)
            .encode(
                x=x,
                y=y,
                color=legend["color"],
                detail="replicate:N",
                strokeDash=parts.dashed(),
                tooltip=["n:Q", "replicate:N", "accuracy:Q", "above:Q", "converged:N"],
            )
        )
        points = alt.Chart(_networks(part, trained)).encode(
            x=x,
            y=y,
            color=legend["color"],
            shape=legend["shape"],
            tooltip=["n:Q", "label:N", "replicate:N", "network:N", "accuracy:Q", "above:Q"],
        )
        marks = points.mark_point(filled=True, size=45, opacity=0.9)
        charts.append((f"{dataset} · {architecture}", alt.layer(line, marks)))
    return parts.arrange(charts, otherwise)


def _curves(part: xr.Dataset) -> pd.DataFrame:
    """One row for each accuracy between the worst and the best interpolator of a run."""
    rows = part[["interpolators_above"]].rename(interpolators_above="above")
    converged = part["converged"].where(part["sampler"] == part["reference"]).max("sampler")
    rows["converged"] = converged == 1
    rows = rows.reset_coords(drop=True).to_dataframe().reset_index().dropna(subset=["above"])
    outside = (rows["above"] <= 0) | (rows["above"] >= 1)
    next_above = rows.groupby(["n", "replicate"])["above"].shift(-1)
    before = rows.groupby(["n", "replicate"])["above"].shift(1)
    rows = rows[~outside | (next_above.between(1e-9, 1 - 1e-9)) | (before.between(1e-9, 1 - 1e-9))]
    return rows.assign(label=[f"n = {n}" for n in rows["n"]])


def _networks(part: xr.Dataset, trained: list[str]) -> pd.DataFrame:
    """One row for each trained network, at the protocol that its sampler reports."""
    columns = ["n", "sampler", "replicate", "network", "accuracy", "above", "label"]
    if "network_rank" not in part or not trained:
        return pd.DataFrame({name: [] for name in columns})
    part = part.sel(sampler=trained)
    reported = part["protocol"] == part["reported_protocol"]
    chosen = xr.Dataset(
        {
            name: part[variable].where(reported).max("protocol")
            for name, variable in (("accuracy_of", "network_accuracy"), ("above", "network_rank"))
        }
    )
    rows = chosen.reset_coords(drop=True).to_dataframe().reset_index().dropna()
    rows = rows.rename(columns={"accuracy_of": "accuracy"})
    return rows.assign(label=[style(each).label for each in rows["sampler"]])[columns]
