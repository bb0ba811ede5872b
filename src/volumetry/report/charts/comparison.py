"""Volume and accuracy of interpolators, and the advantage of training, case beside case."""

from collections.abc import Iterator

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import style
from volumetry.results.roles import TRAINED

_MOST_CASES = 7
"""Lines of one panel that can be told apart."""


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart: a panel for each quantity, a line for each case."""
    tables = {title: rows for title, rows in _tables(study) if not rows.empty}
    names = list(dict.fromkeys(name for rows in tables.values() for name in rows["label"]))
    if not names or len(names) > _MOST_CASES:
        said = "Nothing to compare." if not names else "Too many cases for one panel."
        return Figure([], [], f"{said} The table of numbers has what there is.")
    styles = [
        each._replace(label=name) for name, each in zip(names, parts.by_size(range(len(names))))
    ]
    legend = parts.legend("label", styles)
    charts = []
    for title, rows in tables.items():
        limits = parts.span(rows[["value", "low", "high"]])
        scale = alt.Scale(domain=limits, nice=False)
        y = alt.Y("value:Q", title=title, scale=scale)
        place = rows["label"].map(names.index) - (len(names) - 1) / 2
        rows = parts.side_by_side(rows, place)
        zero = parts.zero_line(clip=True, y=y)
        tooltip = parts.tooltips(title, ".3f")
        curve = parts.curve(rows, parts.n_axis(rows["n"]), y, legend, tooltip, band=False)
        charts.append((title, [zero, *curve]))
    return Figure(charts, styles, "Nothing to compare.")


def _tables(study: xr.Dataset) -> Iterator[tuple[str, pd.DataFrame]]:
    """(title, rows of all cases) of each quantity that is compared."""
    quantities = {
        "Nats for each example, −ln V / n": (study, "nats_per_example"),
        "Accuracy of interpolators": (study, "reference_accuracy"),
    }
    for sampler in [s for s in study["sampler"].values if s in TRAINED][:1]:
        title = f"Advantage of {style(sampler).label}"
        quantities[title] = study.sel(sampler=sampler), "advantage"
    for title, (part, name) in quantities.items():
        found = [
            parts.summary_table(case, name).assign(label=case_name)
            for case_name, case in parts.panels(part, name)
        ]
        yield title, pd.concat(found, ignore_index=True) if found else pd.DataFrame()
