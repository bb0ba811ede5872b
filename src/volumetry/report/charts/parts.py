"""What charts are made of: their tables, axes, legends, curves and panels."""

from collections.abc import Iterator, Sequence

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from volumetry.report.style import Series, style
from volumetry.results.views import cases
from volumetry.study.palette import INK, ORDERED
from volumetry.study.registry import Method

_OF_SUMMARY = {
    "": "value",
    "_low": "low",
    "_high": "high",
    "_replicates": "replicates",
    "_converged": "converged",
}
"""What goes with the name of a summary, and what a table calls it."""


def panels(study: xr.Dataset, *names: str) -> Iterator[tuple[str, xr.Dataset]]:
    """(title, part of the study) for each (dataset, architecture) that has the first of ``names``.

    Args:
        names: summaries and variables that the parts shall have.
    """
    kept = [name + end for name in names for end in _OF_SUMMARY if name + end in study]
    for dataset, architecture, part in cases(study[list(dict.fromkeys(kept))]):
        if part[names[0]].notnull().any():
            yield f"{dataset} · {architecture}", part


def summary_table(part: xr.Dataset, summary: str) -> pd.DataFrame:
    """One row for each point where the summary has a value, with its interval and its flag."""
    return table(part, {summary + end: column for end, column in _OF_SUMMARY.items()})


def table(part: xr.Dataset, columns: dict[str, str]) -> pd.DataFrame:
    """One row for each point where the first of ``columns`` (variable: column) has a value."""
    part = part[list(columns)].rename(columns).reset_coords(drop=True)
    rows = part.to_dataframe().reset_index().dropna(subset=[next(iter(columns.values()))])
    if "sampler" in rows:
        rows["label"] = [style(sampler).label for sampler in rows["sampler"]]
    if "converged" in rows:
        rows["converged"] = rows["converged"] == 1
    return rows


def n_axis(sizes, start: float = 0.8) -> alt.X:
    """Logarithmic axis with ticks at the sizes of the study; it begins at start * smallest."""
    sizes = sorted({int(n) for n in sizes})
    domain = [sizes[0] * start, sizes[-1] * 1.25]
    return alt.X(
        "x:Q",
        title="Training examples n (logarithmic)",
        scale=alt.Scale(type="log", domain=domain, nice=False),
        axis=alt.Axis(values=sizes, format="d", grid=False),
    )


SIGNED = "datum.value === 0 ? '0' : format(datum.value, '+.3~f')"
"""Labels of an axis of differences."""


def zero_line(clip: bool = False, **axis: alt.X | alt.Y) -> alt.Chart:
    """Where nothing differs, across the axis given as ``x`` or ``y``.

    Args:
        clip: whether zero may lie outside the axis.
    """
    line = alt.Chart(pd.DataFrame({"value": [0]})).mark_rule(color=INK, clip=clip or alt.Undefined)
    return line.encode(**axis)


def side_by_side(rows: pd.DataFrame, place: pd.Series) -> pd.DataFrame:
    """Add the column x: n, moved by ``place`` times 0.8 % of the axis so that marks stay apart."""
    width = 1.6 * rows["n"].max() / rows["n"].min()
    return rows.assign(x=rows["n"] * width ** (0.008 * place))


def by_sampler(rows: pd.DataFrame, samplers) -> pd.DataFrame:
    """The samplers of one n side by side, in their order, around n."""
    samplers = list(samplers)
    place = rows["sampler"].map(samplers.index) - (len(samplers) - 1) / 2
    return side_by_side(rows, place)


def legend(field: str, styles: Sequence[Method | Series]) -> dict[str, alt.Color | alt.Shape]:
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


_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left")


def by_size(sizes: Sequence[int], stops: Sequence[str] = ORDERED) -> list[Series]:
    """A label, colour and shape for each n, from the first colour of ``stops`` to the last."""
    rgb = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops])
    places = np.linspace(0, len(stops) - 1, max(2, len(sizes)))
    mixed = [np.interp(places, np.arange(len(stops)), channel).round() for channel in rgb.T]
    return [
        Series(f"n = {n}", "#" + "".join(f"{int(c[i]):02x}" for c in mixed), _SHAPES[i % 7])
        for i, n in enumerate(sizes)
    ]


def tooltips(value: str, number: str) -> list[alt.Tooltip]:
    """What the pointer shows of an estimate: ``value`` names it, ``number`` formats it."""
    return told(
        ("n:Q", "n"),
        ("label:N", "sampler"),
        ("value:Q", value, number),
        ("low:Q", "95 % from", number),
        ("high:Q", "to", number),
        ("replicates:Q", "replicates"),
        ("converged:N", "converged"),
    )


def told(*columns: tuple[str, ...]) -> list[alt.Tooltip]:
    """What the pointer shows: (column, title) or (column, title, format of its numbers)."""
    return [
        alt.Tooltip(column, title=title, **({"format": form[0]} if form else {}))
        for column, title, *form in columns
    ]


def in_bits(nats: pd.Series) -> pd.Series:
    """The same log-probabilities to the base of 2."""
    return nats / np.log(2)


def curve(
    rows: pd.DataFrame, x: alt.X, y: alt.Y, legend: dict, tooltip: list, band: bool = True
) -> list[alt.Chart]:
    """Band, error bars, line and points; hollow points where not converged."""
    base = alt.Chart(rows).encode(x=x, color=legend["color"])
    bands = [base.mark_area(opacity=0.12, clip=True).encode(**ends(y))] if band else []
    return [
        *bands,
        base.mark_rule(strokeWidth=1.5, opacity=0.7, clip=True).encode(**ends(y)),
        base.mark_line(strokeWidth=2.2, clip=True).encode(y=y),
        *points(base.encode(y=y, shape=legend["shape"], tooltip=tooltip)),
    ]


def ends(y: alt.Y) -> dict[str, alt.Y | alt.Y2]:
    """The two ends of an interval, on the axis of ``y``."""
    return {"y": at(y, "low"), "y2": alt.Y2("high:Q")}


def at(axis: alt.X | alt.Y, column: str) -> alt.X | alt.Y:
    """The same axis for another column."""
    other = axis.copy()
    other.shorthand = f"{column}:Q"
    return other


def points(base: alt.Chart) -> list[alt.Chart]:
    """Filled points where converged, hollow ones where not."""
    hollow = {"filled": False, "fill": "white", "strokeWidth": 2}
    return [
        base.transform_filter("datum.converged").mark_point(filled=True, size=80, opacity=1),
        base.transform_filter("!datum.converged").mark_point(**hollow, size=80, opacity=1),
    ]


def dashed() -> dict:
    """For ``strokeDash``: whole lines where converged, dashed ones where not."""
    return alt.condition("datum.converged", alt.value([]), alt.value([5, 4]))


def span(*columns, include=()) -> list[float]:
    """Smallest interval that holds all finite values, with a margin."""
    values = np.concatenate([np.ravel(np.asarray(column, float)) for column in (*columns, include)])
    values = values[np.isfinite(values)]
    margin = max(0.05 * (values.max() - values.min()), 0.01)
    return [values.min() - margin, values.max() + margin]


def log_ticks(values: np.ndarray, least: float = 0.01) -> list[float]:
    """Round numbers for a logarithmic axis, from below the smallest value to above the largest."""
    # ln V = 0 (everything fits) has no place on such an axis; it is put at -0.01.
    values = np.maximum(values[np.isfinite(values)], least)
    low, high = values.min() / 1.05, values.max() * 1.05
    digits = (1, 1.5, 2, 3, 5, 7) if high < 30 * low else (1, 2, 5)
    round_numbers = [digit * 10.0**power for power in range(-12, 9) for digit in digits]
    first = max(tick for tick in round_numbers if tick <= low)
    last = min(tick for tick in round_numbers if tick >= high)
    return [tick for tick in round_numbers if first <= tick <= last]
