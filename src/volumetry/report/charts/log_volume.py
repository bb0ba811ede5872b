"""Log-volume against n: the means of all that measure it, and each run of Guess & Check.

A small cross is a run of theirs in the same replicate as one of Guess & Check.
"""

import altair as alt
import pandas as pd
import xarray as xr

from volumetry.report.charts import parts
from volumetry.report.figure import Figure
from volumetry.report.style import Series, style
from volumetry.results.roles import ANY_REFERENCE, GUESSING, MEASURING
from volumetry.study.palette import GREEN

_NO_HIT = Series("Guess & Check, no hit: upper end of the 95 % interval", GREEN, "triangle-down")


def draw(study: xr.Dataset) -> Figure:
    """Draw the chart."""
    known = study["log_volume"].notnull() | study["log_volume_upper"].notnull()
    study = study.assign(known=known.where(known))
    needed = "log_volume_mean", "log_volume", "log_volume_upper", "hits_p", "converged"
    tables = [(title, _log_volumes(part)) for title, part in parts.panels(study, "known", *needed)]
    shown = {label for _, rows in tables for label in rows["label"]}
    styles = [*(style(name) for name in (*MEASURING, GUESSING)), _NO_HIT]
    styles = [each for each in styles if each.label in shown]
    legend = parts.legend("label", styles)
    charts = []
    for title, rows in tables:
        ticks = parts.log_ticks(-rows[["value", "low", "high"]].to_numpy(float))
        y = alt.Y(
            "value:Q",
            title="Log-volume ln V (nats)",
            scale=alt.Scale(type="log", domain=[-ticks[-1], -ticks[0]], nice=False, clamp=True),
            axis=alt.Axis(values=[-tick for tick in ticks], format="~f"),
        )
        x, tooltip = parts.n_axis(rows["n"]), parts.tooltips("ln V (nats)", ".3f")
        tooltip += parts.told(("bits:Q", "the same in bits", ".2f"))
        mean, guessed = rows["replicate"].isna(), rows["sampler"] == GUESSING
        runs = alt.Chart(rows[guessed]).encode(x=x, color=legend["color"])
        partners = alt.Chart(rows[~mean & ~guessed]).encode(x=x, y=y, color=legend["color"])
        layers = [
            *parts.curve(rows[mean], x, y, legend, tooltip),
            runs.mark_rule(strokeWidth=1.5, clip=True).encode(**parts.ends(y)),
            *parts.points(runs.encode(y=y, shape=legend["shape"], tooltip=tooltip)),
            partners.mark_point(filled=True, size=32, opacity=1, shape="cross"),
        ]
        charts.append((title, layers))
    return Figure(
        charts, styles, f"No log-volume: the study has neither {ANY_REFERENCE} nor Guess & Check."
    )


def _log_volumes(part: xr.Dataset) -> pd.DataFrame:
    """Means of those that measure it (without a replicate), and for each run of Guess & Check: its
    log-volume, or without a hit its upper end, and those measured in the same replicate."""
    means = parts.summary_table(part, "log_volume_mean")
    means = means[means["sampler"].isin(MEASURING)]
    columns = {"log_volume": "value", "log_volume_low": "low", "log_volume_high": "high"}
    columns |= {"hits_p": "p", "converged": "converged"}
    runs = parts.table(part, columns)
    runs = runs[(runs["sampler"] == GUESSING) | runs["p"].notna()]
    limits = parts.table(part, {"log_volume_upper": "value", "converged": "converged"})
    rows = pd.concat([means, runs, limits.assign(label=_NO_HIT.label)], ignore_index=True)
    rows["bits"] = parts.in_bits(rows["value"])
    # Means to the left of n, a place for each sampler; runs to the right, one for each replicate.
    of_mean = -rows["sampler"].map({name: place for place, name in enumerate(MEASURING)})
    place = rows["replicate"].rank(method="dense").fillna(1.5 * of_mean)
    return parts.side_by_side(rows, place)
