"""How the test accuracy of interpolators is distributed, and where trained networks lie in it."""

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style
from volumetry.results.roles import TRAINED
from volumetry.results.views import cases
from volumetry.study.palette import INK

_TYPICAL = parts.Series("interpolators", INK, "circle")
_QUANTILES = {"low": 0.025, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "high": 0.975}
_NEEDED = (
    "interpolators_above",
    "converged",
    "reference",
    "network_accuracy",
    "network_rank",
    "reported_protocol",
)


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart: for each n a bar of the interpolators, and a mark for each network."""
    otherwise = "No distribution of the accuracy: the study has no reference that reached A = n."
    if "interpolators_above" not in study:
        return Figure([], [], otherwise)
    trained = [s for s in study["sampler"].values if s in TRAINED]
    styles = [_TYPICAL, *map(style, trained)]
    legend = parts.legend("label", styles)
    charts, most = [], 1
    for dataset, architecture, part in cases(study[[name for name in _NEEDED if name in study]]):
        bars, points = _bars(part), _networks(part, trained)
        if bars.empty:
            continue
        sizes = [f"n = {n}" for n in sorted(bars["n"])]
        most = max(most, len(sizes))
        limits = parts.span(bars[["low", "high"]], points["accuracy"])
        x = alt.X(
            "median:Q",
            title="Test accuracy",
            scale=alt.Scale(domain=[max(limits[0], 0), min(limits[1], 1)], nice=False),
        )
        place = {
            "y": alt.Y("size:N", title=None, sort=sizes, scale=alt.Scale(domain=sizes)),
            "yOffset": alt.YOffset(
                "label:N",
                scale=alt.Scale(
                    domain=[_TYPICAL.label, *(style(s).label for s in trained)], paddingOuter=0.5
                ),
            ),
            "color": legend["color"],
        }
        quantiles = ((f"{name}:Q", f"{q:.3g} quantile", ".3f") for name, q in _QUANTILES.items())
        tooltip = parts.told(("n:Q", "n"), *quantiles)
        bar = alt.Chart(bars).encode(**place, tooltip=tooltip)
        thin = bar.mark_rule(strokeWidth=1.5).encode(x=parts.at(x, "low"), x2=alt.X2("high:Q"))
        thick = bar.mark_rule(strokeWidth=7, opacity=0.45).encode(
            x=parts.at(x, "quarter"), x2=alt.X2("three_quarters:Q")
        )
        middle = parts.points(bar.encode(x=x))
        marks = (
            alt.Chart(points)
            .mark_point(filled=True, size=45, opacity=0.75)
            .encode(
                **place,
                x=parts.at(x, "accuracy"),
                shape=legend["shape"],
                tooltip=parts.told(
                    ("n:Q", "n"),
                    ("label:N", "sampler"),
                    ("replicate:N", "replicate"),
                    ("network:N", "network"),
                    ("accuracy:Q", "test accuracy", ".3f"),
                    ("rank:Q", "interpolators that do better", ".1%"),
                ),
            )
        )
        charts.append((f"{dataset} · {architecture}", [thick, thin, *middle, marks]))
    return Figure(charts, styles, otherwise, height=max(150, 70 * most))


def _bars(part: xr.Dataset) -> pd.DataFrame:
    """Quantiles of the interpolators' accuracy, of all replicates together: one row for each n."""
    above = part["interpolators_above"].mean("replicate")
    of_size = part["converged"].where(part["sampler"] == part["reference"])
    converged = of_size.min(["sampler", "replicate"]) == 1
    rows = []
    for n in above["n"].values:
        values = above.sel(n=n).values
        if np.isfinite(values).all():
            accuracy = above["accuracy"].values
            found = {k: np.interp(q, 1 - values, accuracy) for k, q in _QUANTILES.items()}
            rows.append({"n": n, **found, "converged": bool(converged.sel(n=n))})
    rows = pd.DataFrame(rows, columns=["n", *_QUANTILES, "converged"])
    return rows.assign(label=_TYPICAL.label, size=[f"n = {n}" for n in rows["n"]])


def _networks(part: xr.Dataset, trained: list[str]) -> pd.DataFrame:
    """One row for each trained network, at the protocol that its sampler reports."""
    columns = ["n", "sampler", "replicate", "network", "accuracy", "rank", "label", "size"]
    if "network_rank" not in part or not trained:
        return pd.DataFrame({name: [] for name in columns})
    part = part.sel(sampler=trained)
    reported = part["protocol"] == part["reported_protocol"]
    chosen = xr.Dataset(
        {
            name: part[variable].where(reported).max("protocol")
            for name, variable in (("of_network", "network_accuracy"), ("rank", "network_rank"))
        }
    )
    rows = chosen.reset_coords(drop=True).to_dataframe().reset_index().dropna()
    rows = rows.rename(columns={"of_network": "accuracy"})
    labels = [style(each).label for each in rows["sampler"]]
    return rows.assign(label=labels, size=[f"n = {n}" for n in rows["n"]])[columns]
