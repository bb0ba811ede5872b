"""A network from an entry of ``architectures`` and the shape of the examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from volumetry.errors import NetworkError
from volumetry.networks.architecture import Network, build_network
from volumetry.networks.real import DEFAULTS, RealNetwork, build_real_network

BINARY = "binary"
"""The kind of weights of an architecture that names none."""


def weights_of(architecture: Mapping[str, Any]) -> str:
    """The kind of weights of an architecture: ``BINARY``, or a prior."""
    return architecture.get("weights", BINARY)


def complete(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """An architecture with every key that its kind of weights has.

    Raises:
        NetworkError: a key that binary weights do not have.
    """
    if weights_of(architecture) != BINARY:
        return {**DEFAULTS, **architecture}
    for key in DEFAULTS:
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
        architecture: an entry of the configuration; what it leaves out has its default.
        input_shape: (channels, height, width) or (features,).
        n_classes: number of classes, at least 2.
        input_bound: largest |input|, an integer; networks with real weights see inputs divided by
            it, unless the architecture has ``normalise``.

    Raises:
        NetworkError: as the functions that build either kind of network.
    """
    architecture = complete(architecture)
    layers, prior = architecture["layers"], weights_of(architecture)
    if prior == BINARY:
        return build_network(layers, input_shape, n_classes, input_bound)
    return build_real_network(
        layers,
        input_shape,
        n_classes,
        prior=prior,
        input_bound=max(input_bound, 1),
        **{key: architecture[key] for key in DEFAULTS},
    )
