"""How samplers and other series of numbers are shown."""

from typing import NamedTuple

from volumetry.study.palette import GREY
from volumetry.study.registry import METHODS, Method


class Series(NamedTuple):
    """What a chart shows that is no sampler of the registry."""

    label: str
    colour: str
    shape: str


def style(sampler: str) -> Method | Series:
    """What has the label, colour and shape of a sampler; a grey stroke for an unknown one."""
    return METHODS.get(sampler) or Series(sampler, GREY, "stroke")
