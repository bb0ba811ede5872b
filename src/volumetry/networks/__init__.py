"""Networks with weights in {-1, +1} and exact integer sums."""

from volumetry.networks.architecture import PRESETS, Network, build_network, parse_layers

__all__ = ["PRESETS", "Network", "build_network", "parse_layers"]
