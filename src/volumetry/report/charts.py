"""The charts of a study (Altair): one function a chart, from the Dataset to a chart.

Each draws one panel for each (dataset, architecture). Filled marks are results, hollow ones rest on
a run that did not converge.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
import xarray as xr

from volumetry.report.theme import themed
from volumetry.results.aggregate import TRAINED
from volumetry.study.palette import BLUE, GREEN, GREY, INK, VERMILION
from volumetry.study.registry import METHODS


class Style(NamedTuple):
    """How a sampler is shown: its name, colour and shape."""

    label: str
    colour: str
    shape: str


def style(sampler: str) -> Style:
    """The style of a sampler; a grey stroke for one that has none of its own."""
    method = METHODS.get(sampler)
    return (
        Style(method.label, method.colour, method.shape)
        if method
        else Style(sampler, GREY, "stroke")
    )


def panels(study: xr.Dataset, variable: str) -> Iterator[tuple[str, xr.Dataset]]:
    """(title, part of the study) for each (dataset, architecture) that has the variable."""
    for dataset in study["dataset"].values:
        for architecture in study["architecture"].values:
            part = study.sel(dataset=dataset, architecture=architecture)
            if part[variable].notnull().any():
                yield f"{dataset} · {architecture}", part


def _table(part: xr.Dataset, summary: str) -> pd.DataFrame:
    """One row for each point where the summary has a value, with its interval and its flag."""
    columns = {
        summary: "value",
        f"{summary}_low": "low",
        f"{summary}_high": "high",
        f"{summary}_replicates": "replicates",
        f"{summary}_converged": "converged",
    }
    return _rows(part, columns)


def _rows(part: xr.Dataset, columns: dict[str, str]) -> pd.DataFrame:
    """One row for each point where the first of ``columns`` (variable: column) has a value."""
    part = part[list(columns)].rename(columns).reset_coords(drop=True)
    rows = part.to_dataframe().reset_index().dropna(subset=[next(iter(columns.values()))])
    if "sampler" in rows:
        rows["label"] = [style(sampler).label for sampler in rows["sampler"]]
    if "converged" in rows:
        rows["converged"] = rows["converged"] == 1
    return rows


# ---- parts of charts ---------------------------------------------------------------------------


def _n_axis(sizes, start: float = 0.8) -> alt.X:
    """Logarithmic axis with ticks at the sizes of the study; it begins at start * smallest."""
    sizes = sorted({int(n) for n in sizes})
    domain = [sizes[0] * start, sizes[-1] * 1.25]
    return alt.X(
        "x:Q",
        title="Training examples n (logarithmic)",
        scale=alt.Scale(type="log", domain=domain, nice=False),
        axis=alt.Axis(values=sizes, format="d", grid=False),
    )


def _side_by_side(rows: pd.DataFrame, place: pd.Series) -> pd.DataFrame:
    """Add the column x: n, moved by ``place`` times 0.8 % of the axis so that marks stay apart."""
    width = 1.6 * rows["n"].max() / rows["n"].min()
    return rows.assign(x=rows["n"] * width ** (0.008 * place))


def _by_sampler(rows: pd.DataFrame, samplers) -> pd.DataFrame:
    """The samplers of one n side by side, in their order, around n."""
    samplers = list(samplers)
    place = rows["sampler"].map(samplers.index) - (len(samplers) - 1) / 2
    return _side_by_side(rows, place)


def _legend(field: str, styles: list[Style]) -> dict[str, alt.Color | alt.Shape]:
    """Colour and shape by ``field``, in one legend."""
    labels = [each.label for each in styles]
    legend = alt.Legend(title=None)
    return {
        "color": alt.Color(
            f"{field}:N",
            scale=alt.Scale(domain=labels, range=[each.colour for each in styles]),
            legend=legend,
        ),
        "shape": alt.Shape(
            f"{field}:N",
            scale=alt.Scale(domain=labels, range=[each.shape for each in styles]),
            legend=legend,
        ),
    }


def _tooltip(value: str, number: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("n:Q", title="n"),
        alt.Tooltip("label:N", title="sampler"),
        alt.Tooltip("value:Q", title=value, format=number),
        alt.Tooltip("low:Q", title="95 % from", format=number),
        alt.Tooltip("high:Q", title="to", format=number),
        alt.Tooltip("replicates:Q", title="replicates"),
        alt.Tooltip("converged:N", title="converged"),
    ]


def _curve(
    rows: pd.DataFrame, x: alt.X, y: alt.Y, legend: dict, tooltip: list, band: bool = True
) -> list[alt.Chart]:
    """Band, error bars, line and points; hollow points where not converged."""
    base = alt.Chart(rows).encode(x=x, color=legend["color"])
    bands = [base.mark_area(opacity=0.12, clip=True).encode(**_ends(y))] if band else []
    return [
        *bands,
        base.mark_rule(strokeWidth=1.5, opacity=0.7, clip=True).encode(**_ends(y)),
        base.mark_line(strokeWidth=2.2, clip=True).encode(y=y),
        *_points(base.encode(y=y, shape=legend["shape"], tooltip=tooltip)),
    ]


def _ends(y: alt.Y) -> dict[str, alt.Y | str]:
    """The two ends of an interval, on the axis of ``y``."""
    low = y.copy()
    low.shorthand = "low:Q"
    return {"y": low, "y2": "high:Q"}


def _points(base: alt.Chart) -> list[alt.Chart]:
    """Filled points where converged, hollow ones where not."""
    hollow = {"filled": False, "fill": "white", "strokeWidth": 2}
    return [
        base.transform_filter("datum.converged").mark_point(filled=True, size=80, opacity=1),
        base.transform_filter("!datum.converged").mark_point(**hollow, size=80, opacity=1),
    ]


def _arrange(titled: list[tuple[str, alt.LayerChart]], otherwise: str) -> alt.TopLevelMixin:
    """Panels side by side in two columns under one legend, or the sentence ``otherwise``."""
    if not titled:
        text = alt.Chart(pd.DataFrame({"text": [otherwise]}), width=640, height=40)
        mark = text.mark_text(align="left", fontSize=15, color=INK)
        return mark.encode(text="text:N", x=alt.value(0)).configure_view(stroke=None)
    width = 640 if len(titled) == 1 else 400
    sized = [chart.properties(width=width, height=320, title=title) for title, chart in titled]
    return themed(
        alt.concat(*sized, columns=2, spacing=30).resolve_scale(color="shared", shape="shared")
    )


def _range(*columns, include=()) -> list[float]:
    """Smallest interval that holds all finite values, with a margin."""
    values = np.concatenate([np.ravel(np.asarray(column, float)) for column in (*columns, include)])
    values = values[np.isfinite(values)]
    margin = max(0.05 * (values.max() - values.min()), 0.01)
    return [values.min() - margin, values.max() + margin]


def _log_ticks(values: np.ndarray) -> list[float]:
    """Round numbers for a logarithmic axis, from below the smallest value to above the largest."""
    # ln V = 0 (everything fits) has no place on such an axis; it is put at -0.01.
    values = np.maximum(values[np.isfinite(values)], 0.01)
    low, high = values.min() / 1.05, values.max() * 1.05
    digits = (1, 1.5, 2, 3, 5, 7) if high < 30 * low else (1, 2, 5)
    round_numbers = [digit * 10.0**power for power in range(-3, 9) for digit in digits]
    first = max(tick for tick in round_numbers if tick <= low)
    last = min(tick for tick in round_numbers if tick >= high)
    return [tick for tick in round_numbers if first <= tick <= last]


# ---- the charts --------------------------------------------------------------------------------


def advantage(study: xr.Dataset) -> alt.TopLevelMixin:
    """Advantage over the random interpolator against n, with its 95 % interval."""
    trained = study.sel(sampler=[s for s in study["sampler"].values if s in TRAINED])
    tables = [(title, _table(part, "advantage")) for title, part in panels(trained, "advantage")]
    limits = _range(*(rows[["value", "low", "high"]] for _, rows in tables), include=[0])
    # A wide interval of few replicates may leave [-1, 1]; an advantage cannot.
    scale = alt.Scale(domain=[max(limits[0], -1), min(limits[1], 1)], nice=False)
    y = alt.Y(
        "value:Q",
        title="Advantage Qs − Qr (fraction of test examples)",
        scale=scale,
        axis=alt.Axis(labelExpr="datum.value === 0 ? '0' : format(datum.value, '+.3~f')"),
    )
    legend = _legend("label", [style(s) for s in trained["sampler"].values])
    charts = []
    for title, rows in tables:
        x = _n_axis(rows["n"])
        zero = alt.Chart(pd.DataFrame({"value": [0]})).mark_rule(color=INK).encode(y=y)
        rows = _by_sampler(rows, trained["sampler"].values)
        curve = _curve(rows, x, y, legend, _tooltip("advantage", "+.4f"))
        charts.append((title, alt.layer(zero, *curve)))
    return _arrange(
        charts, "No advantage: the study has no test accuracy of both rewl and a trained network."
    )


def test_accuracy(study: xr.Dataset) -> alt.TopLevelMixin:
    """Test accuracy of every sampler against n, with its 95 % interval."""
    summary = "test_accuracy_mean"
    tables = [(title, _table(part, summary)) for title, part in panels(study, summary)]
    limits = _range(*(rows[["value", "low", "high"]] for _, rows in tables), include=[1])
    scale = alt.Scale(domain=[max(limits[0], 0), 1], nice=False)
    y = alt.Y("value:Q", title="Test accuracy Q (fraction of test examples)", scale=scale)
    legend = _legend("label", [style(s) for s in study["sampler"].values])
    charts = []
    for title, rows in tables:
        rows = _by_sampler(rows, study["sampler"].values)
        tooltip = _tooltip("test accuracy", ".4f")
        curve = _curve(rows, _n_axis(rows["n"]), y, legend, tooltip, band=False)
        charts.append((title, alt.layer(*curve)))
    return _arrange(charts, "No test accuracy: no run of the study fitted its training set.")


_NO_HIT = Style("Guess & Check, no hit: 95 % upper limit", GREEN, "triangle-down")


def log_volume(study: xr.Dataset) -> alt.TopLevelMixin:
    """Log-volume against n: the means of rewl and enumerate, and each run of Guess & Check.

    A small cross is the run of rewl in the same replicate as a run of Guess & Check with hits.
    """
    known = study["log_volume"].notnull() | study["log_volume_upper"].notnull()
    parts = panels(study.assign(known=known.where(known)), "known")
    tables = [(title, _log_volumes(part)) for title, part in parts]
    shown = {label for _, rows in tables for label in rows["label"]}
    styles = [style("rewl"), style("enumerate"), style("guess_and_check"), _NO_HIT]
    legend = _legend("label", [each for each in styles if each.label in shown])
    charts = []
    for title, rows in tables:
        ticks = _log_ticks(-rows[["value", "low", "high"]].to_numpy(float))
        y = alt.Y(
            "value:Q",
            title="Log-volume ln V (nats)",
            scale=alt.Scale(type="log", domain=[-ticks[-1], -ticks[0]], nice=False),
            axis=alt.Axis(values=[-tick for tick in ticks], format="~f"),
        )
        x, tooltip = _n_axis(rows["n"]), _tooltip("ln V", ".3f")
        mean, guessed = rows["replicate"].isna(), rows["sampler"] == "guess_and_check"
        runs = alt.Chart(rows[guessed]).encode(x=x, color=legend["color"])
        partners = alt.Chart(rows[~mean & ~guessed]).encode(x=x, y=y, color=legend["color"])
        chart = alt.layer(
            *_curve(rows[mean], x, y, legend, tooltip),
            runs.mark_rule(strokeWidth=1.5, clip=True).encode(**_ends(y)),
            *_points(runs.encode(y=y, shape=legend["shape"], tooltip=tooltip)),
            partners.mark_point(filled=True, size=32, opacity=1, shape="cross"),
        )
        charts.append((title, chart))
    return _arrange(charts, "No log-volume: the study has neither rewl nor Guess & Check.")


def _log_volumes(part: xr.Dataset) -> pd.DataFrame:
    """Means of rewl and enumerate (without a replicate), and for each run of Guess & Check: its
    log-volume and that of rewl in the same replicate, or without a hit its upper limit."""
    means = _table(part, "log_volume_mean").query("sampler in ('rewl', 'enumerate')")
    columns = {"log_volume": "value", "log_volume_low": "low", "log_volume_high": "high"}
    runs = _rows(part, columns | {"volume_difference": "difference", "converged": "converged"})
    runs = runs[(runs["sampler"] == "guess_and_check") | runs["difference"].notna()]
    limits = _rows(part, {"log_volume_upper": "value", "converged": "converged"})
    rows = pd.concat([means, runs, limits.assign(label=_NO_HIT.label)], ignore_index=True)
    return _side_by_side(rows, rows["replicate"].rank(method="dense").fillna(0))


_SLOPE = Style("−d ln V/dn, from the volume", VERMILION, "stroke")
_MINUS_LOG = Style("−ln Qr, from the test accuracy", BLUE, "circle")


def volume_slope(study: xr.Dataset) -> alt.TopLevelMixin:
    """-d ln V/dn between successive sizes against -ln Qr at each size, both of rewl."""
    legend = _legend("label", [_SLOPE, _MINUS_LOG])
    charts = []
    for title, part in panels(study, "log_volume_slope_mean"):
        steps = _table(part, "log_volume_slope_mean").assign(label=_SLOPE.label)
        start = part["log_volume_slope_start"].to_series()
        # n = 0 has no place on a logarithmic axis: the first step begins at its left end.
        left = 0.5
        steps["start"] = steps["n"].map(start).clip(lower=left * steps["n"].min())
        points = _table(part, "minus_log_accuracy_mean").assign(label=_MINUS_LOG.label)
        limits = _range(steps[["value", "low", "high"]], points[["value", "low", "high"]])
        scale = alt.Scale(domain=[min(limits[0], 0), limits[1]], nice=False)
        y = alt.Y("value:Q", title="Nats for each further example", scale=scale)
        x, tooltip = _n_axis(steps["n"], left), _tooltip("nats", ".4f")
        steps, points = (rows.assign(x=rows["n"]) for rows in (steps, points))
        step = alt.Chart(steps).encode(x=x, x2="start:Q", color=legend["color"], tooltip=tooltip)
        point = alt.Chart(points).encode(x=x, color=legend["color"])
        chart = alt.layer(
            step.mark_rect(opacity=0.15, stroke=None).encode(**_ends(y)),
            step.mark_rule(strokeWidth=3).encode(
                y=y,
                strokeDash=alt.condition("datum.converged", alt.value([]), alt.value([5, 4])),
            ),
            point.mark_rule(strokeWidth=1.5).encode(**_ends(y)),
            *_points(point.encode(y=y, shape=legend["shape"], tooltip=tooltip)),
        )
        charts.append((title, chart))
    return _arrange(charts, "No check of the volume against the accuracy: the study has no rewl.")


_BOUND = Style("Upper bound from the log-volume alone (95 %)", VERMILION, "triangle-down")
_ERROR = Style("Measured error of the random interpolator", INK, "cross")


def error_bound(study: xr.Dataset) -> alt.TopLevelMixin:
    """Bound on the error of the random interpolator, and the measured error, against n."""
    legend = _legend("label", [_BOUND, _ERROR])
    y = alt.Y(
        "value:Q", title="Error (fraction of examples)", scale=alt.Scale(domain=[0, 1], nice=False)
    )
    charts = []
    for title, part in panels(study, "error_bound"):
        rows = [
            _table(part, name).assign(label=style.label)
            for name, style in (("error_bound", _BOUND), ("gibbs_error", _ERROR))
        ]
        rows = pd.concat(rows, ignore_index=True)
        rows = rows.assign(x=rows["n"])
        curve = _curve(rows, _n_axis(rows["n"]), y, legend, _tooltip("error", ".4f"))
        charts.append((title, alt.layer(*curve)))
    return _arrange(charts, "No bound: the study has no rewl.")


def accuracy_tails(study: xr.Dataset) -> alt.TopLevelMixin:
    """ln Pr[Q >= q | A = n] of joint against q, and where the trained networks lie on it."""
    if "log_p_given_fit" not in study:
        return _arrange([], "No distribution of the accuracy: the study has no joint.")
    trained = [s for s in study["sampler"].values if s in TRAINED]
    sizes = [str(n) for n in sorted(study["n"].values)]
    shades = np.linspace(0.25, 1.0, len(sizes)).tolist()
    legend = _legend("label", [style(s) for s in trained])
    charts = []
    for title, part in panels(study, "log_p_given_fit"):
        curves = _tail_curves(part)
        # The tail of a trained network is as good as the run of joint that it was taken from.
        known = part["converged"].sel(sampler="joint", drop=True).broadcast_like(part["converged"])
        columns = {"tail_log_volume": "tail", "test_accuracy": "accuracy", "converged": "converged"}
        points = _rows(part.assign(converged=known).sel(sampler=trained), columns)
        points = points[np.isfinite(points["tail"])]
        curves = curves.assign(size=curves["n"].astype(str))
        y = alt.Y("tail:Q", title="ln Pr[Q ≥ q | A = n] (nats)", scale=alt.Scale(nice=False))
        x = alt.X("accuracy:Q", title="Test accuracy q", scale=alt.Scale(nice=False, zero=False))
        line = (
            alt.Chart(curves)
            .mark_line(strokeWidth=1.8, color=INK)
            .encode(
                x=x,
                y=y,
                detail="replicate:N",
                opacity=alt.Opacity(
                    "size:N",
                    scale=alt.Scale(domain=sizes, range=shades),
                    legend=alt.Legend(title="n"),
                ),
                strokeDash=alt.condition("datum.converged", alt.value([]), alt.value([5, 4])),
                tooltip=["n:Q", "replicate:N", "accuracy:Q", "tail:Q", "converged:N"],
            )
        )
        mark = alt.Chart(points).encode(
            x=x,
            y=y,
            color=legend["color"],
            shape=legend["shape"],
            tooltip=["n:Q", "label:N", "replicate:N", "accuracy:Q", "tail:Q"],
        )
        charts.append((title, alt.layer(line, *_points(mark))))
    return _arrange(charts, "No distribution of the accuracy: joint reached none.")


def _tail_curves(part: xr.Dataset) -> pd.DataFrame:
    """ln Pr[Q >= q | A = n] on the grid of accuracies, one row a point; whether joint converged."""
    density = part["log_p_given_fit"]
    log_p = density.fillna(-np.inf).values
    tail = np.logaddexp.accumulate(log_p[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(invalid="ignore"):
        tail = tail - tail[..., :1]
    rows = density.copy(data=np.where(np.isfinite(tail), tail, np.nan)).rename("tail")
    rows = rows.where(density.notnull()).reset_coords(drop=True).to_dataset()
    rows["converged"] = part["converged"].sel(sampler="joint", drop=True) == 1
    return rows.to_dataframe().reset_index().dropna(subset=["tail"])


CHARTS: dict[str, Callable[[xr.Dataset], alt.TopLevelMixin]] = {
    "advantage": advantage,
    "test_accuracy": test_accuracy,
    "log_volume": log_volume,
    "volume_slope": volume_slope,
    "error_bound": error_bound,
    "accuracy_tails": accuracy_tails,
}
"""The charts by name, in the order of the report."""

_NEEDS = {"accuracy_tails": "joint"}


def shown(study: xr.Dataset) -> list[str]:
    """The charts that belong to a study: all but those of samplers that it does not run."""
    return [
        name for name in CHARTS if name not in _NEEDS or _NEEDS[name] in study["sampler"].values
    ]


def draw_chart(name: str, study: xr.Dataset) -> alt.TopLevelMixin:
    """Draw one of ``CHARTS``. A chart that the study cannot fill is a sentence that says so."""
    return CHARTS[name](study)


def save(chart: alt.TopLevelMixin, svg: str | os.PathLike, png: str | os.PathLike) -> None:
    """Write a chart as SVG and, at twice its size, as PNG."""
    drawn = vl_convert.vegalite_to_svg(chart.to_json())
    Path(svg).write_text(drawn, encoding="utf-8")
    Path(png).write_bytes(vl_convert.svg_to_png(drawn, scale=2))
