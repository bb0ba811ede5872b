"""Networks: their layers, and the plain evaluation that every other is tested against. Those with
weights in {-1, +1} have exact integer sums with proven bounds (``architecture``, ``forward``),
those with real weights have a prior (``real``). Imports ``weights``."""

from volumetry.networks.architecture import PRESETS, Network, build_network, parse_layers

__all__ = ["PRESETS", "Network", "build_network", "parse_layers"]
