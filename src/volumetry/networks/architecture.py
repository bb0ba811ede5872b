"""Layer lists and what follows from them: shapes, number of weights, exact bounds.

A network is a *stem* of convolution stages on an image and a *head* of linear layers, without
biases, with weights in {-1, +1}. ReLU follows each convolution and each hidden linear layer; a
last linear layer to the classes is implied. Weights lie in one flat vector: the stages in order,
each ``(c_out, c_in, 3, 3)``, then the linear layers in order, each ``(inputs, outputs)``, all in C
order.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from volumetry.errors import NetworkError
from volumetry.weights.binary import BinaryWeights
from volumetry.weights.moves import Segment, consecutive

PRESETS: dict[str, tuple[str, ...]] = {
    "simple_cnn": ("conv 6", "pool", "linear 64"),
    "simple_cnn_deep": ("conv 6", "pool", "conv 6", "linear 64"),
    "simple_cnn_wide": ("conv 6", "pool", "linear 128"),
    "perceptron": (),
}
"""The networks of Pakman, Kreimer & Berchenko (arXiv 2606.31282), and the plain perceptron."""

GROUP = 3
"""Changes that are added up before they are used: each type has to hold that many."""

_LAYER = re.compile(r"(conv|linear) ([1-9][0-9]{0,18})|pool")
MOST_WEIGHTS = 10**9  # a gigabyte for each walker; a move can choose among 2^32


@dataclass(frozen=True)
class Stage:
    """One convolution (3x3, stride 1, padding 1), ReLU, and the ``pools`` 2x2 poolings after it.

    Shapes are (channels, height, width); ``bound`` is the largest |pre-activation| possible.
    """

    shape_in: tuple[int, int, int]
    channels: int
    pools: int
    bound: int

    @property
    def shape_out(self) -> tuple[int, int, int]:
        _, height, width = self.shape_in
        return self.channels, height >> self.pools, width >> self.pools

    @property
    def n_weights(self) -> int:
        return self.channels * self.shape_in[0] * 9


@dataclass(frozen=True)
class Linear:
    """One linear layer; ``bound`` is the largest |pre-activation| possible."""

    inputs: int
    outputs: int
    bound: int

    @property
    def n_weights(self) -> int:
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Network:
    """An architecture fitted to an input: everything but the weights.

    Attributes:
        layers: the layer list it was built from.
        input_shape: (channels, height, width) or (features,).
        input_pools: 2x2 poolings that come before the first convolution or linear layer.
        stages: the convolution stages, in order; empty for a purely linear network.
        linears: the linear layers, in order; the last has one output for each class.
        input_bound: largest |input| the bounds hold for.
    """

    layers: tuple[str, ...]
    input_shape: tuple[int, ...]
    input_pools: int
    stages: tuple[Stage, ...]
    linears: tuple[Linear, ...]
    input_bound: int

    @property
    def layers_with_weights(self) -> tuple[Stage | Linear, ...]:
        """In the order of the vector of weights."""
        return (*self.stages, *self.linears)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The weights of each layer, in order."""
        return segments_of(self.stages, self.linears)

    @cached_property
    def n_weights(self) -> int:
        """M, the number of weights."""
        return sum(layer.n_weights for layer in self.layers_with_weights)

    @property
    def space(self) -> BinaryWeights:
        """Where the weights live."""
        return BinaryWeights(self.n_weights)

    @property
    def n_classes(self) -> int:
        return self.linears[-1].outputs

    @property
    def map_bound(self) -> int:
        """Largest absolute value of inputs and convolutions."""
        return max([self.input_bound] + [stage.bound for stage in self.stages])

    @property
    def map_bytes(self) -> int:
        """Of the narrowest integers for inputs and convolutions, from 16 bits on."""
        return narrowest(self.map_bound, 2)

    @property
    def sum_bytes(self) -> int:
        """Of the narrowest integers for the sums of every linear layer, from 32 bits on."""
        return narrowest(max(layer.bound for layer in self.linears) + 1, 4)

    @property
    def bound(self) -> int:
        """Largest absolute value that any sum of the network can reach."""
        return max(layer.bound for layer in self.layers_with_weights)


def segments_of(stages: Sequence, linears: Sequence) -> tuple[Segment, ...]:
    """The weights of each layer under its name: convolutions, then linear layers."""
    names = [
        *(f"conv {number}" for number in range(1, len(stages) + 1)),
        *(f"linear {number}" for number in range(1, len(linears))),
        "output",
    ]
    return consecutive(zip(names, (layer.n_weights for layer in (*stages, *linears))))


def narrowest(bound: int, least: int) -> int:
    """Bytes, ``least`` or more, of the narrowest integer that holds ``GROUP`` times a bound.

    Doubled inputs fit it too.

    Raises:
        NetworkError: not even 64 bits do.
    """
    for size in (2, 4, 8):
        if size >= least and GROUP * bound < 1 << 8 * size - 1:
            return size
    raise NetworkError(
        f"changes of 10^{math.log10(bound):.0f} are beyond 64-bit integers: use fewer flips or "
        "smaller inputs"
    )


def parse_layers(layers) -> tuple[str, ...]:
    """Resolve a preset's name or check a list of layers; shapes are not looked at.

    Raises:
        NetworkError: an unknown preset, or an entry that is no layer.
    """
    if isinstance(layers, str):
        if layers not in PRESETS:
            raise NetworkError(
                f"unknown preset {layers!r}: choose one of {', '.join(PRESETS)}, "
                "or give a list of layers such as [conv 6, pool, linear 64]"
            )
        return PRESETS[layers]
    for layer in layers:
        if not isinstance(layer, str) or not _LAYER.fullmatch(layer):
            raise NetworkError(
                f"layer {layer!r} is not one of 'conv C', 'pool', 'linear K' "
                "(C and K whole numbers from 1, of at most 19 digits); kernels of other sizes take "
                "real weights"
            )
    return tuple(layers)


def build_network(layers, input_shape, n_classes: int, input_bound: int) -> Network:
    """Fit a layer list (or a preset's name) to an input.

    Args:
        layers: sequence of 'conv C', 'pool', 'linear K', or a preset's name.
        input_shape: (channels, height, width) or (features,).
        n_classes: number of classes, at least 2.
        input_bound: largest |input|, an integer.

    Returns:
        The network with a proven bound on every sum: a pre-activation is at most its number of
        inputs times the largest input, and ReLU and pooling never enlarge a value.

    Raises:
        NetworkError: a layer that does not fit what reaches it, or a network whose sums could
            leave 64-bit integers.
    """
    layers = parse_layers(layers)
    shape = tuple(int(size) for size in input_shape)
    image = shape if len(shape) == 3 else None
    features = math.prod(shape)
    bound = max(int(input_bound), 1)
    input_pools, stages, linears = 0, [], []

    for position, layer in enumerate((*layers, f"linear {n_classes}")):
        kind, _, size = layer.partition(" ")
        if kind == "linear":
            bound *= features
            linears.append(Linear(features, int(size), bound))
            features, image = int(size), None
            continue
        if image is None:
            reason = "follows a linear layer" if linears else f"needs images, the input is {shape}"
            raise NetworkError(
                f"layer {position + 1} ({layer!r}) of [{', '.join(layers)}] {reason}: put conv and "
                "pool before every linear layer, and use them on (channels, height, width) inputs"
            )
        if kind == "conv":
            bound *= 9 * image[0]
            stages.append(Stage(image, int(size), 0, bound))
            image = stages[-1].shape_out
        else:
            if min(image[1:]) < 2:
                raise NetworkError(
                    f"layer {position + 1} ('pool') of [{', '.join(layers)}] meets an image of "
                    f"{image[1]}x{image[2]}: 2x2 pooling needs at least 2x2; remove a pool"
                )
            image = (image[0], image[1] // 2, image[2] // 2)
            if stages:
                last = stages.pop()
                stages.append(Stage(last.shape_in, last.channels, last.pools + 1, last.bound))
            else:
                input_pools += 1
        features = math.prod(image)

    network = Network(layers, shape, input_pools, tuple(stages), tuple(linears), int(input_bound))
    if GROUP * (network.bound + 1) >= 2**63:
        raise NetworkError(
            f"[{', '.join(layers)}] on inputs of shape {shape} up to {input_bound} could reach "
            f"sums of 10^{math.log10(network.bound):.0f}, beyond 64-bit integers: use fewer or "
            "narrower layers, or smaller inputs"
        )
    if network.n_weights > MOST_WEIGHTS:
        raise NetworkError(
            f"[{', '.join(layers)}] on inputs of shape {shape} has {network.n_weights:,} weights, "
            f"more than {MOST_WEIGHTS:,}: use fewer or narrower layers, or smaller inputs"
        )
    return network
