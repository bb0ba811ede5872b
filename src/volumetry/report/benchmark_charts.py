"""The charts of the benchmark (Altair): medians of the repetitions, bars from least to largest."""

from collections.abc import Iterable

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.benchmark_tables import SCALES
from volumetry.report.style import style
from volumetry.report.theme import THEME
from volumetry.study.palette import BLUE, GREEN, GREY, INK, ORANGE, PINK, VERMILION

_ENGINE, _PLAIN = "this package", "plain torch"
_NUMBER = "datum.value < 1000 ? format(datum.value, '~g') : format(datum.value, '~s')"
_WHO = {_ENGINE: BLUE, _PLAIN: ORANGE}


def table(
    result: xr.Dataset, name: str, over: str = "repetition", scale: float = 1
) -> pd.DataFrame:
    """One row a measurement: its coordinates, ``value`` (median), ``low`` and ``high`` (extremes).

    Args:
        over: the dimension of the repetitions.
        scale: factor of the values.
    """
    array = result[name] * scale
    parts = {"value": array.median(over), "low": array.min(over), "high": array.max(over)}
    return xr.Dataset(parts).to_dataframe().reset_index()


def moves(result: xr.Dataset) -> alt.TopLevelMixin:
    """Moves a second against n, of the engine on one core and of a full forward pass on one."""
    ours = table(result, "moves_per_second").assign(who="incremental engine")
    plain = table(result.sel(baseline_threads="one thread"), "baseline_moves_per_second")
    plain = plain.assign(who="full forward pass (torch)")
    rows = pd.concat([ours, plain], ignore_index=True)
    rows["series"] = rows["architecture"]
    titles = {
        "training": "Training set only",
        "training and test": f"Test set too, N = {result.attrs['n_test']:,}",
    }
    names = sorted(set(rows["architecture"]), key=list(result["architecture"].values).index)
    panels = []
    for examples, title in titles.items():
        part = rows[rows["examples"] == examples]
        panels.append((title, _lines(
            part, "n", _log_x("n:Q", "Training examples n (logarithmic)", part["n"]),
            _log_y("Moves per second and core (logarithmic)", rows, margin=2),
            _colours("architecture", dict(zip(names, (BLUE, ORANGE, GREEN)))), dash="who",
        )))  # fmt: skip
    return _side_by_side(panels)


def guesses(result: xr.Dataset) -> alt.TopLevelMixin:
    """Guesses a second against n, a panel for each image size and number of classes."""
    rows = pd.concat(
        [
            table(result, "guesses_per_second").assign(who=_ENGINE),
            table(result, "baseline_guesses_per_second").assign(who=_PLAIN),
        ],
        ignore_index=True,
    )
    panels = []
    for (side, classes), part in rows.groupby(["side", "classes"]):
        panels.append((f"{side}x{side} images, {classes} classes", _lines(
            part, "guess_n", _log_x("guess_n:Q", "Training examples n", part["guess_n"]),
            _log_y("Guesses per second, all cores", rows), _colours("who", _WHO),
        )))  # fmt: skip
    return _side_by_side(panels, height=200)


def training(result: xr.Dataset) -> alt.TopLevelMixin:
    """Network-epochs a second of gd, sgd and sam, networks together and one at a time."""
    rows = table(result, "network_epochs_per_second")
    rows["method"] = [style(method).label for method in rows["method"]]
    panels = []
    for side, part in rows.groupby("train_side"):
        base = alt.Chart(part).encode(
            x=alt.X("method:N", title=None, sort=None, axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("layout:N", sort=None),
        )
        bars = base.mark_bar().encode(
            y=alt.Y("value:Q", title="Network-epochs per second, one core"),
            color=_colours("layout", dict(zip(result["layout"].values, (BLUE, ORANGE)))),
            tooltip=["method:N", "layout:N", *_tooltip()],
        )
        panels.append((f"{side}x{side} images", alt.layer(bars, _spread(base))))
    return _side_by_side(panels, height=240)


def start_up(result: xr.Dataset) -> alt.TopLevelMixin:
    """Seconds until a fresh process has done a small job."""
    rows = table(result, "start_seconds", over="start")
    cold = result["compile_start_seconds"].to_series().rename("value").reset_index()
    cold = cold.assign(low=cold["value"], high=cold["value"], stage="small job, kernels compiled")
    rows = pd.concat([rows, cold], ignore_index=True)
    colours = dict(zip(rows["stage"].unique(), (GREY, BLUE, VERMILION)))
    base = alt.Chart(rows).encode(
        y=alt.Y("job:N", title=None, sort=list(result["job"].values)),
        yOffset=alt.YOffset("stage:N", sort=list(colours)),
    )
    bars = base.mark_bar().encode(
        x=alt.X("value:Q", title="Seconds from the start of the process"),
        color=_colours("stage", colours),
        tooltip=["job:N", "stage:N", *_tooltip()],
    )
    whiskers = base.mark_rule(color=INK).encode(x="low:Q", x2="high:Q")
    return _side_by_side([("", alt.layer(bars, whiskers))], height=50 * result.sizes["job"])


def scaling(result: xr.Dataset) -> alt.TopLevelMixin:
    """Microseconds of a move against n, N, width and depth, each with a line of proportionality."""
    titles = {
        "scale_n": ("Training examples", "n"),
        "scale_n_test": ("Test examples, not looked at", "N"),
        "width": ("Width of the hidden layer", "Units"),
        "depth": ("Depth", "Hidden linear layers of 64 units"),
    }
    tables = {x: table(result, f"move_seconds_by_{name}", scale=1e6) for x, name in SCALES.items()}
    every = pd.concat(tables.values())
    panels = []
    for x, (title, words) in titles.items():
        rows = tables[x]
        guide = rows.iloc[[0, -1]].assign(
            value=lambda r, x=x: r["value"].iloc[0] * r[x] / r[x].iloc[0]
        )
        axis = _log_x(f"{x}:Q", words, rows[x])
        y = _log_y("Microseconds per move", every)
        line = alt.Chart(guide).mark_line(color=GREY, strokeDash=[3, 4], clip=True).encode(axis, y)
        panels.append((title, alt.layer(line, _lines(rows, x, axis, y, alt.value(BLUE)))))
    return _side_by_side(panels, height=220)


def bandwidth(result: xr.Dataset) -> alt.TopLevelMixin:
    """Bytes a second that adding rows reads and writes, against the size of the memory."""
    rows = table(result, "bandwidth", scale=1e-9)
    rows["size"] = rows["bandwidth_size"] / 1024
    ticks = [4.0**power for power in range(2, 10)]
    label = "datum.value < 1024 ? datum.value + ' KiB' : datum.value / 1024 + ' MiB'"
    x = alt.X(
        "size:Q",
        title="Size of the memory worked in (logarithmic)",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(values=ticks, labelExpr=label, grid=False),
    )
    y = alt.Y("value:Q", title="GB per second, one core", scale=alt.Scale(zero=True))
    return _side_by_side([("", _lines(rows, "size", x, y, alt.value(BLUE)))], height=240)


def gpu(result: xr.Dataset) -> alt.TopLevelMixin:
    """Moves a second on the GPU against the number of walkers."""
    rows = table(result, "gpu_moves_per_second")
    x = _log_x("walkers:Q", "Walkers side by side", rows["walkers"])
    y = _log_y("Moves per second (logarithmic)", rows)
    return _side_by_side([("", _lines(rows, "walkers", x, y, alt.value(PINK)))], height=240)


# ---- parts of charts ---------------------------------------------------------------------------


def _lines(rows: pd.DataFrame, key: str, x: alt.X, y: alt.Y, colour, dash: str | None = None):
    """Lines through the medians with bars from least to largest; dashes by a column if asked."""
    base = alt.Chart(rows).encode(x=x, color=colour)
    extra = {}
    if dash:
        names = list(rows[dash].unique())
        scale = alt.Scale(domain=names, range=[[1, 0], [5, 4]])
        extra = {
            "strokeDash": alt.StrokeDash(f"{dash}:N", scale=scale, legend=alt.Legend(title=None))
        }
    return alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y=_end(y), y2="high:Q"),
        base.mark_line(strokeWidth=2.2).encode(y=y, **extra),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            y=y, tooltip=[f"{key}:Q", *_tooltip()]
        ),
    )


def _end(y: alt.Y) -> alt.Y:
    low = y.copy()
    low.shorthand = "low:Q"
    return low


def _spread(base: alt.Chart) -> alt.Chart:
    return base.mark_rule(color=INK).encode(y="low:Q", y2="high:Q")


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("value:Q", title="median", format=",.4~g"),
        alt.Tooltip("low:Q", title="from", format=",.4~g"),
        alt.Tooltip("high:Q", title="to", format=",.4~g"),
    ]


def _colours(field: str, colours: dict[str, str]) -> alt.Color:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=alt.Legend(title=None))


def _log_x(shorthand: str, title: str, values: Iterable) -> alt.X:
    """Logarithmic axis with ticks at the values themselves."""
    ticks = sorted({int(value) for value in values})
    return alt.X(
        shorthand,
        title=title,
        scale=alt.Scale(type="log", domain=[ticks[0] / 1.15, ticks[-1] * 1.15], nice=False),
        axis=alt.Axis(values=ticks, format="d", grid=False),
    )


def _log_y(title: str, rows: pd.DataFrame, margin: float = 1.3) -> alt.Y:
    """Logarithmic axis around all rows."""
    low, high = rows["low"].min() / margin, rows["high"].max() * margin
    digits = (1,) if high > 2000 * low else (1, 2, 5)
    ticks = [d * 10.0**power for power in range(-4, 10) for d in digits]
    return alt.Y(
        "value:Q",
        title=title,
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(labelExpr=_NUMBER, values=[tick for tick in ticks if low <= tick <= high]),
    )


def _side_by_side(titled: list[tuple[str, alt.TopLevelMixin]], height: int = 300):
    width = 640 if len(titled) == 1 else 400
    sized = [chart.properties(width=width, height=height, title=title) for title, chart in titled]
    return alt.ConcatChart(concat=sized, columns=2, spacing=30, config=THEME)
