"""A figure of a study: its panels, and the legend that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import altair as alt
import pandas as pd
from altair.utils.data import to_values

from volumetry.report.style import Series
from volumetry.report.theme import themed
from volumetry.study.palette import INK
from volumetry.study.registry import Method

_WIDE, _NARROW = 640, 400


@dataclass(frozen=True)
class Figure:
    """Panels that are read together.

    Attributes:
        panels: (title, layers) of each; a title may have several lines.
        legend: label, colour and shape of what they show; empty if they have none.
        otherwise: the sentence that stands there if there are no panels.
        height: of a panel, pixels.
    """

    panels: Sequence[tuple[str | list[str], alt.LayerChart]]
    legend: Sequence[Method | Series]
    otherwise: str
    height: int = 320

    def together(self, columns: int = 2, width: int | None = None) -> alt.TopLevelMixin:
        """All panels in one chart under one legend, or the sentence.

        Args:
            columns: panels side by side.
            width: of each, pixels, without its axes.
        """
        if not self.panels:
            text = alt.Chart(pd.DataFrame({"text": [self.otherwise]}), width=_WIDE, height=40)
            mark = text.mark_text(align="left", fontSize=15, color=INK)
            return mark.encode(text="text:N", x=alt.value(0)).configure_view(stroke=None)
        width = width or (_WIDE if len(self.panels) == 1 else _NARROW)
        sized = [
            chart.properties(width=width, height=self.height, title=title)
            for title, chart in self.panels
        ]
        return themed(
            alt.concat(*sized, columns=columns, spacing=30).resolve_scale(
                color="shared", shape="shared"
            )
        )

    def apart(self) -> list[tuple[str, dict]]:
        """(title, Vega-Lite specification) of each panel, as wide as what it stands in; title and
        legend are left to the page."""
        return [
            (title if isinstance(title, str) else ", ".join(title), _alone(chart, self.height))
            for title, chart in self.panels
        ]


def _alone(chart: alt.LayerChart, height: int) -> dict:
    # There may be hundreds of panels: Altair would take a third of a second to validate each, and
    # as long to convert a table again for every layer that shows it.
    tables: dict[int, pd.DataFrame] = {}
    spec = _with_named_tables(chart, tables).to_dict(validate=False)
    spec |= {"width": "container", "height": height, "background": None, "config": _config()}
    spec["datasets"] = {
        f"table-{number}": to_values(table)["values"]
        for number, table in enumerate(tables.values())
    }
    _without_legends(spec)
    return spec


def _with_named_tables(chart: alt.TopLevelMixin, tables: dict[int, pd.DataFrame]):
    """A copy whose tables are names; the tables are added to ``tables``, by identity."""
    chart = chart.copy(deep=False)
    if isinstance(chart.data, pd.DataFrame):
        tables.setdefault(id(chart.data), chart.data)
        chart.data = alt.NamedData(name=f"table-{list(tables).index(id(chart.data))}")
    if isinstance(chart, alt.LayerChart):
        chart.layer = [_with_named_tables(each, tables) for each in chart.layer]
    return chart


@cache
def _config() -> dict:
    """What ``themed`` says of every chart."""
    return themed(alt.Chart().mark_point()).to_dict()["config"]


def _without_legends(spec: dict) -> None:
    for layer in spec.get("layer", ()):
        _without_legends(layer)
    for channel in ("color", "shape", "opacity"):
        if "scale" in spec.get("encoding", {}).get(channel, {}):
            spec["encoding"][channel]["legend"] = None
