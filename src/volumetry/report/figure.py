"""A figure of a study: its panels, and the legend that they share."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import altair as alt
import pandas as pd

from volumetry.report.style import Series
from volumetry.report.theme import THEME
from volumetry.study.palette import INK
from volumetry.study.registry import Method

_WIDE, _NARROW = 640, 400


@dataclass(frozen=True)
class Figure:
    """Panels that are read together.

    Attributes:
        panels: (title, layers) of each, the lowest layer first; a title may have several lines.
        legend: label, colour and shape of what they show; empty if they have none.
        otherwise: the sentence that stands there if there are no panels.
        height: of a panel, pixels.
    """

    panels: Sequence[tuple[str | list[str], Sequence[alt.Chart]]]
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
        # All at once: Altair copies the whole chart for every property that is set afterwards.
        sized = [
            alt.LayerChart(layer=layers, width=width, height=self.height, title=title)
            for title, layers in self.panels
        ]
        shared = alt.ScaleResolveMap(color="shared", shape="shared")
        return alt.ConcatChart(
            concat=sized,
            columns=columns,
            spacing=30,
            resolve=alt.Resolve(scale=shared),
            config=THEME,
        )

    def apart(self) -> list[tuple[str, dict]]:
        """(title, Vega-Lite specification) of each panel, as wide as what it stands in; title and
        legend are left to the page."""
        return [
            (title if isinstance(title, str) else ", ".join(title), _alone(layers, self.height))
            for title, layers in self.panels
        ]


def _alone(layers: Sequence[alt.Chart], height: int) -> dict:
    # There may be hundreds of panels: Altair would take a third of a second to validate each, and
    # as long to convert a table again for every layer that shows it and to copy all for a layered
    # chart.
    names: dict[int, str] = {}
    tables: dict[str, list[dict]] = {}
    specs = []
    for layer in layers:
        if id(layer.data) not in names:
            names[id(layer.data)] = name = f"table-{len(names)}"
            tables[name] = _records(layer.data)
        bare = layer.copy(deep=False)
        bare.data = alt.NamedData(name=names[id(layer.data)])
        spec = bare.to_dict(validate=False)
        specs.append({key: spec[key] for key in spec if key not in ("$schema", "config")})
    made = {"layer": specs, "datasets": tables, "config": _config(), "background": None}
    made |= {"width": "container", "height": height}
    _without_legends(made)
    return made


def _records(table: pd.DataFrame) -> list[dict]:
    """The rows of a table; what is not finite is null."""
    return json.loads(table.to_json(orient="records", double_precision=15))


@cache
def _config() -> dict:
    return THEME.to_dict()


def _without_legends(spec: dict) -> None:
    for layer in spec.get("layer", ()):
        _without_legends(layer)
    for channel in ("color", "shape", "opacity"):
        if "scale" in spec.get("encoding", {}).get(channel, {}):
            spec["encoding"][channel]["legend"] = None
