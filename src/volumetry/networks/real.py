"""Networks with real weights: convolutions, linear layers, biases if wanted, and a choice of
activations.

Weights lie in one flat vector: layer after layer, each (outputs, inputs) in C order, with the bias
of a unit as its last incoming weight; the inputs of a channel of a convolution are (channels,
height, width) of its kernel. This module has the forward pass that computes every layer in
full, in float64: the yardstick of the incremental engine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from volumetry.errors import NetworkError
from volumetry.networks import forward
from volumetry.networks.architecture import MOST_WEIGHTS, segments_of
from volumetry.networks.real_layers import RealConv, RealLinear, lay_out
from volumetry.weights.moves import Segment
from volumetry.weights.real import PRIORS, RealWeights

ACTIVATIONS = ("linear", "relu", "tanh", "leaky_relu")

LEAK = 0.01
"""Slope of leaky_relu below zero."""

SCALES = {
    "fan_in": lambda prior, layer: 1 / math.sqrt(layer.inputs),
    "fan_out": lambda prior, layer: 1 / math.sqrt(layer.outputs),
    "kaiming": lambda prior, layer: math.sqrt((2 if prior == "gaussian" else 6) / layer.inputs),
}
"""Scale of a layer by its shape: 1 / sqrt(inputs), 1 / sqrt(outputs), or such that the variance of
weights is 2 / inputs (He et al. 2015, doi:10.1109/ICCV.2015.123)."""

TIE = 1e-9
"""An example is right if the logit of its label exceeds all others by more than this fraction of
the two and of ``RealNetwork.logit_scale``. Whatever is closer is a tie and wrong, so that rounding,
1e-13 or so, decides nothing; where no unit passes anything on, it is all that logits are."""

_LEAST = 1e-6
"""Of a scale, or of what inputs are divided by: beyond it, single precision ends."""

_AT_ONCE = 100
"""Examples that a convolution sees at a time: what its kernels lie on stays in the cache."""

DEFAULTS: dict[str, Any] = {
    "scale": "fan_in",
    "biases": False,
    "activation": "relu",
    "normalise": None,
}
"""What an architecture with real weights may leave out."""


@dataclass(frozen=True)
class RealNetwork:
    """An architecture with real weights, fitted to an input.

    Attributes:
        layers: the layer list it was built from.
        input_shape: of an input.
        input_pools: 2x2 poolings that come before the first layer with weights.
        stages: the convolutions, in order.
        linears: the linear layers, in order; the last has one output for each class.
        activation: one of ``ACTIVATIONS``, after every layer but the last.
        shift, spread: layers see (x - shift) / spread of inputs x.
        space: where the weights live.
    """

    layers: tuple[str, ...]
    input_shape: tuple[int, ...]
    input_pools: int
    stages: tuple[RealConv, ...]
    linears: tuple[RealLinear, ...]
    activation: str
    shift: float
    spread: float
    space: RealWeights

    @property
    def layers_with_weights(self) -> tuple[RealConv | RealLinear, ...]:
        """In the order of the vector of weights."""
        return (*self.stages, *self.linears)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The weights of each layer, in order."""
        return self.space.segments

    @property
    def n_weights(self) -> int:
        """M, the number of weights."""
        return self.space.size

    @property
    def n_classes(self) -> int:
        return self.linears[-1].outputs

    @cached_property
    def logit_scale(self) -> float:
        """What logits are of the order of, under the prior and for inputs of order one."""
        layers = zip(self.layers_with_weights, self.space.scales)
        return math.prod(scale * math.sqrt(layer.fan_in) for layer, scale in layers)

    def seen(self, x: np.ndarray) -> np.ndarray:
        """Examples (n, *input_shape) as the first layer sees them: float64 (n, values)."""
        x = np.asarray(x, np.float64)
        for _ in range(self.input_pools):
            x = forward.max_pool(x)
        return (x.reshape(len(x), math.prod(x.shape[1:])) - self.shift) / self.spread

    @cached_property
    def n_sums(self) -> int:
        """Pre-activations of all layers, logits included."""
        return sum(layer.outputs * layer.positions for layer in self.layers_with_weights)

    @cached_property
    def n_values(self) -> int:
        """Values that all layers pass on, logits included."""
        return sum(layer.outputs * layer.places for layer in self.layers_with_weights)

    @property
    def spare(self) -> int:
        """Values of one unit, the largest, for which there is room beside."""
        return max(layer.places for layer in self.layers_with_weights)


def build_real_network(
    layers: Sequence[str],
    input_shape: Sequence[int],
    n_classes: int,
    *,
    prior: str,
    scale: str | float | Sequence[float] = DEFAULTS["scale"],
    biases: bool = DEFAULTS["biases"],
    activation: str = DEFAULTS["activation"],
    normalise: Sequence[float] | None = DEFAULTS["normalise"],
    input_bound: float = 1.0,
) -> RealNetwork:
    """Fit a layer list to an input.

    Args:
        layers: as for ``real_layers.lay_out``.
        input_shape: of an input.
        n_classes: number of classes, at least 2.
        prior: gaussian or uniform.
        scale: a name of ``SCALES``, or a positive number for all layers, or for each.
        biases: whether units have one, with the prior of their layer.
        activation: after every layer but the last.
        normalise: mean and standard deviation that inputs lose; by default, they are divided by
            ``input_bound``, the largest of them.

    Raises:
        NetworkError: no such prior, activation or layer, a layer that does not fit what reaches
            it, or a scale or standard deviation that is not positive.
    """
    for name, value, known in (
        ("weights", prior, PRIORS),
        ("activation", activation, ACTIVATIONS),
    ):
        if value not in known:
            raise NetworkError(f"{name} = {value!r}: must be one of {', '.join(known)}; choose one")
    seen_as = [0.0, input_bound] if normalise is None else list(normalise)
    if len(seen_as) != 2 or not np.isfinite(seen_as).all() or seen_as[1] < _LEAST:
        raise NetworkError(
            f"normalise = {seen_as}: must be a mean and a positive standard deviation, from "
            f"{_LEAST:g}; correct it"
        )
    pools, stages, linears = lay_out(layers, input_shape, n_classes, biases)
    found: tuple[RealConv | RealLinear, ...] = (*stages, *linears)
    if (size := sum(each.n_weights for each in found)) > MOST_WEIGHTS:
        raise NetworkError(
            f"[{', '.join(layers)}] on inputs of shape {tuple(input_shape)} has {size:,} weights, "
            f"more than {MOST_WEIGHTS:,}: use fewer or narrower layers, or smaller inputs"
        )
    space = RealWeights(prior, segments_of(stages, linears), _scales(scale, prior, found))
    return RealNetwork(
        tuple(layers),
        tuple(input_shape),
        input_pools=pools,
        stages=stages,
        linears=linears,
        activation=activation,
        shift=float(seen_as[0]),
        spread=float(seen_as[1]),
        space=space,
    )


def _scales(scale, prior: str, layers: Sequence[RealConv | RealLinear]) -> tuple[float, ...]:
    if isinstance(scale, str):
        if scale not in SCALES:
            raise NetworkError(
                f"scale = {scale!r}: must be {', '.join(SCALES)}, a positive number, or one for "
                "each layer; correct it"
            )
        return tuple(SCALES[scale](prior, layer) for layer in layers)
    scales = [scale] * len(layers) if isinstance(scale, int | float) else list(scale)
    if len(scales) != len(layers):
        raise NetworkError(
            f"scale = {scales}: {len(scales)} numbers for {len(layers)} layers with weights, "
            "the one to the classes included; give one for each, or a single one"
        )
    for each in scales:
        if not _LEAST <= each <= 1 / _LEAST:
            raise NetworkError(
                f"scale = {each}: must be a positive number, from {_LEAST:g} to {1 / _LEAST:g}; "
                "correct it"
            )
    return tuple(map(float, scales))


def activate(values: np.ndarray, activation: str) -> np.ndarray:
    """What a layer passes on of its pre-activations."""
    if activation == "relu":
        return np.maximum(values, 0)
    if activation == "tanh":
        return np.tanh(values)
    if activation == "leaky_relu":
        return np.where(values > 0, values, LEAK * values)
    return values


def slope(values: np.ndarray, activation: str) -> np.ndarray | float:
    """Derivative of ``activate`` at pre-activations."""
    if activation == "relu":
        return (values > 0).astype(values.dtype)
    if activation == "tanh":
        return 1 - np.square(np.tanh(values))
    if activation == "leaky_relu":
        return np.where(values > 0, values.dtype.type(1), values.dtype.type(LEAK))
    return 1.0


def split_weights(network: RealNetwork, weights: np.ndarray) -> list[np.ndarray]:
    """Views of the flat vector (..., M), one for each layer: (..., outputs, inputs + bias)."""
    return [
        weights[..., s.first : s.first + s.size].reshape(
            *weights.shape[:-1], layer.outputs, layer.fan_in
        )
        for s, layer in zip(network.segments, network.layers_with_weights)
    ]


def logits(network: RealNetwork, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Logits of examples.

    Args:
        weights: (n_weights,).
        x: (examples, *input_shape).

    Returns:
        float64 (examples, n_classes).
    """
    if network.stages and len(x) > _AT_ONCE:
        parts = (x[start : start + _AT_ONCE] for start in range(0, len(x), _AT_ONCE))
        return np.concatenate([logits(network, weights, part) for part in parts])
    values = network.seen(x)
    for layer, weight in zip(network.layers_with_weights, split_weights(network, weights)):
        weight = weight.astype(np.float64)
        seen = patches(layer, values) if isinstance(layer, RealConv) else values
        values = seen @ weight[:, : layer.inputs].T
        if layer.bias:
            values = values + weight[:, -1]
        if isinstance(layer, RealConv):
            values = pooled(layer, values)
        if layer is not network.linears[-1]:
            values = activate(values, network.activation)
    return values


def patches(layer: RealConv, x: np.ndarray) -> np.ndarray:
    """What the kernels of a convolution lie on: (n, values) as (n, positions, inputs)."""
    x = x.reshape(len(x), *layer.shape_in)
    x = np.pad(x, ((0, 0), (0, 0), (layer.pad, layer.pad), (layer.pad, layer.pad)))
    views = np.lib.stride_tricks.sliding_window_view(x, (layer.kernel, layer.kernel), axis=(2, 3))
    return views.transpose(0, 2, 3, 1, 4, 5).reshape(len(x), layer.positions, layer.inputs)


def pooled(layer: RealConv, sums: np.ndarray) -> np.ndarray:
    """The largest of each square: (n, positions, channels) as (n, values)."""
    height, width = layer.shape_out[1:]
    images = sums.transpose(0, 2, 1).reshape(len(sums), layer.outputs, *layer.size)
    images = images[..., : height * layer.pool, : width * layer.pool]
    squares = images.reshape(len(sums), layer.outputs, height, layer.pool, width, layer.pool)
    return squares.max(axis=(3, 5)).reshape(len(sums), -1)


@forward.count_correct.register
def count_correct(network: RealNetwork, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> int:
    """Number of examples classified correctly, ties wrong."""
    found = logits(network, weights, x)
    own = np.take_along_axis(found, np.asarray(y)[:, None], axis=1)[:, 0]
    np.put_along_axis(found, np.asarray(y)[:, None], -np.inf, axis=1)
    other = found.max(axis=1)
    return int((own - other > TIE * (np.abs(own) + np.abs(other) + network.logit_scale)).sum())
