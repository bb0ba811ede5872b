"""Networks with weights in {-1, +1} and exact integer sums: their layers, the proven bounds of
their sums, and ``forward``, the plain evaluation that every other is tested against. Imports
nothing of the package but ``errors``."""

from volumetry.networks.architecture import PRESETS, Network, build_network, parse_layers

__all__ = ["PRESETS", "Network", "build_network", "parse_layers"]
