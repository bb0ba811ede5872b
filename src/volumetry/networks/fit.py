"""A network from an entry of ``architectures`` and the shape of the examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from volumetry.errors import NetworkError
from volumetry.networks.architecture import Network, build_network
from volumetry.networks.real import RealNetwork, build_real_network

BINARY = "binary"
"""The kind of weights of an architecture that names none."""

_OF_REAL = {"scale": "fan_in", "biases": False, "activation": "relu"}
"""Keys that only real weights have, and their defaults."""


def complete(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """An architecture with every key that its kind of weights has.

    Raises:
        NetworkError: a key that binary weights do not have.
    """
    if architecture.get("weights", BINARY) != BINARY:
        return {**_OF_REAL, **architecture}
    for key in _OF_REAL:
        if key in architecture:
            raise NetworkError(
                f"{key} = {architecture[key]!r}: binary weights have none; remove it, or set "
                "weights to gaussian or uniform"
            )
    return dict(architecture)


def fit(
    architecture: Mapping[str, Any],
    input_shape: Sequence[int],
    n_classes: int,
    input_bound: int,
) -> Network | RealNetwork:
    """Fit an architecture to an input.

    Args:
        architecture: as ``complete`` leaves it.
        input_shape: (channels, height, width) or (features,).
        n_classes: number of classes, at least 2.
        input_bound: largest |input|, an integer; networks with real weights see inputs divided by
            it.

    Raises:
        NetworkError: as the functions that build either kind of network.
    """
    layers, prior = architecture["layers"], architecture.get("weights", BINARY)
    if prior == BINARY:
        return build_network(layers, input_shape, n_classes, input_bound)
    return build_real_network(
        layers,
        input_shape,
        n_classes,
        prior=prior,
        input_bound=max(input_bound, 1),
        **{key: architecture[key] for key in _OF_REAL},
    )
