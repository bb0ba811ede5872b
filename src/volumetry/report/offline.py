"""What pages share: one HTML file with its charts, and nothing to load."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

import volumetry
from volumetry.report.figure import Figure

_STATIC_PANELS = 120
"""So many are on a page as images, too, for a browser that runs no scripts."""

_STATIC_WIDTH = 420
"""Of such an image, pixels, without its axes."""

_SYMBOLS = {
    "circle": "M0,-5A5,5,0,1,1,0,5A5,5,0,1,1,0,-5Z",
    "square": "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "diamond": "M0,-6L5,0L0,6L-5,0Z",
    "cross": "M-2,-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "triangle-up": "M0,-5L5.5,4.5H-5.5Z",
    "triangle-down": "M0,5L-5.5,-4.5H5.5Z",
    "triangle-left": "M-5,0L4.5,-5.5V5.5Z",
    "triangle-right": "M5,0L-4.5,-5.5V5.5Z",
    "stroke": "M-6,-1.2H6V1.2H-6Z",
}
"""Shapes of marks, for legends outside a chart: SVG paths of about 12 by 12."""


def render(template: str, charts: Iterable[Mapping], static: int = _STATIC_PANELS, **values) -> str:
    """A page with all data, scripts and styles inside; it forbids the browser to load any more.

    Args:
        template: one beside this module, which extends ``base.html.j2``.
        charts: ``name`` (of the place), ``figure`` (a ``Figure``) or ``chart`` (an Altair chart),
            and what the template asks for.
        static: panels that are images, too, the first ones of the page.
        values: what else it asks for.
    """
    environment = Environment(
        loader=PackageLoader("volumetry.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown: list[dict] = []
    for chart in charts:
        shown.append(_with_panels(chart, static))
        static -= len(shown[-1]["panels"])
    return environment.get_template(template).render(
        charts=shown,
        version=volumetry.__version__,
        bundle=_bundle(),
        script=Markup(files("volumetry.report").joinpath("page.js").read_text(encoding="utf-8")),
        symbols=_SYMBOLS,
        **values,
    )


@cache
def _bundle() -> Markup:
    """The chart library (Vega), safe inside a script element."""
    return Markup(vl_convert.javascript_bundle().replace("</script", "<\\/script"))


def _with_panels(chart: Mapping, static: int) -> dict:
    """What a template needs of a chart; the first ``static`` panels as images, too."""
    figure: Figure | None = chart.get("figure")
    panels = figure.apart() if figure else [("", _plain(chart["chart"]))]
    for _, spec in panels:
        # The place has its numbers in words; no mark needs its own besides.
        spec["config"] = spec.get("config", {}) | {"aria": False}
    made = [
        {
            "id": chart["name"] if figure is None else f"{chart['name']}-{number}",
            "title": title,
            "alt": described(title or chart.get("title", ""), spec),
            "spec": _json(_with_switch(spec)),
            "svg": _image(spec, f"{chart['name']}-{number}-") if figure and number < static else "",
        }
        for number, (title, spec) in enumerate(panels)
    ]
    legend = figure.legend if figure else ()
    return {**chart, "panels": made, "legend": legend, "otherwise": figure and figure.otherwise}


def _plain(chart: alt.TopLevelMixin) -> dict:
    spec = chart.to_dict()
    spec["background"] = None
    return spec


def _with_switch(spec: dict) -> dict:
    """With a signal ``hidden``: labels of series that are not to be shown."""
    if "layer" not in spec:
        return spec
    switch = {"name": "hidden", "value": []}
    return _switched(spec) | {"params": [*spec.get("params", ()), switch]}


def _switched(spec: dict) -> dict:
    if "layer" in spec:
        return spec | {"layer": [_switched(each) for each in spec["layer"]]}
    shown = {"filter": "indexof(hidden, datum.label) < 0"}
    return spec | {"transform": [shown, *spec.get("transform", ())]}


def _image(spec: dict, prefix: str) -> Markup:
    """An image of a chart. The names in it are its own, as there are many on a page, and do not
    depend on what was drawn before."""
    drawn = vl_convert.vegalite_to_svg(json.dumps(spec | {"width": _STATIC_WIDTH}))
    drawn = re.sub(r' xmlns(:xlink)?="[^"]*"', "", drawn)  # HTML knows what an svg is
    drawn = drawn.replace("<svg", '<svg aria-hidden="true"', 1)
    names = dict.fromkeys(re.findall(r' id="([^"]+)"', drawn))
    for number, name in enumerate(names):
        drawn = re.sub(rf'( id="|url\(#){name}(?=[")])', rf"\g<1>{prefix}{number}", drawn)
    return Markup(drawn)


def _json(spec: dict) -> Markup:
    """A chart as JSON that is safe inside a script element; the page knows its dialect."""
    spec = {name: value for name, value in spec.items() if name != "$schema"}
    return Markup(json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c"))


_MOST_NAMED = 40
_WHERE = {
    "n": "n = {:g}: ",
    "protocol": "{}: ",
    "epochs_after_fit": "{:g} epochs after the first fit: ",
}


def described(title: str, spec: Mapping) -> str:
    """The numbers of a chart in words, for those who cannot see it: series, n, value, interval."""
    said: dict[str, list[str]] = {}
    for rows in spec.get("datasets", {}).values():
        for row in rows:
            value = row.get("value", row.get("median"))
            if value is not None and row.get("label"):
                where = "".join(
                    words.format(row[name]) for name, words in _WHERE.items() if name in row
                )
                ends = row.get("low"), row.get("high")
                interval = f" ({ends[0]:.3g} to {ends[1]:.3g})" if None not in ends else ""
                number = f"{where}{value:.3g}{interval}"
                if number not in said.setdefault(row["label"], []):
                    said[row["label"]].append(number)
    parts = [
        f"{label}: {', '.join(words[:_MOST_NAMED])}{', and more' * (len(words) > _MOST_NAMED)}"
        for label, words in said.items()
    ]
    return f"{title}. {'. '.join(parts)}." if parts else f"{title}."
