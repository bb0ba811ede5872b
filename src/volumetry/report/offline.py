"""What pages share: one HTML file with its charts, and nothing to load."""

import json
from collections.abc import Iterable, Mapping
from functools import cache

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

import volumetry


def render(template: str, charts: Iterable[Mapping], **values) -> str:
    """A page with all data, scripts and styles inside; it forbids the browser to load any more.

    Args:
        template: one beside this module, which extends ``base.html.j2``.
        charts: ``name`` (the id of the chart's place), ``chart``, and what the template asks for.
        values: what else it asks for.
    """
    environment = Environment(
        loader=PackageLoader("volumetry.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        charts=[{**chart, "spec": _spec(chart["chart"])} for chart in charts],
        version=volumetry.__version__,
        bundle=_bundle(),
        **values,
    )


@cache
def _bundle() -> Markup:
    """The chart library (Vega), safe inside a script element."""
    return Markup(vl_convert.javascript_bundle().replace("</script", "<\\/script"))


def _spec(chart: alt.TopLevelMixin) -> Markup:
    """A chart as JSON that is safe inside a script element; the page knows its dialect."""
    spec = chart.to_dict()
    del spec["$schema"]
    return Markup(json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c"))
