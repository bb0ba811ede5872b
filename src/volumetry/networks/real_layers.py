"""Layers of networks with real weights, and what a list of them comes to on an input."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from volumetry.errors import NetworkError

_LAYER = re.compile(
    r"(?P<kind>linear|conv) (?P<units>[1-9][0-9]{0,8})(?: (?P<kernel>[1-9][0-9]?)x(?P=kernel))?"
)


@dataclass(frozen=True)
class RealLinear:
    """One linear layer; a unit has ``inputs`` incoming weights, and a bias beside them or not."""

    inputs: int
    outputs: int
    bias: bool

    places = positions = 1

    @property
    def fan_in(self) -> int:
        """Incoming weights of a unit, its bias included."""
        return self.inputs + self.bias

    @property
    def n_weights(self) -> int:
        return self.outputs * self.fan_in


@dataclass(frozen=True)
class RealConv:
    """A convolution, whose units are channels, and the maxima of squares that it passes on.

    Attributes:
        shape_in: (channels, height, width) of what it sees.
        outputs: channels of its own.
        kernel: height and width of its kernels.
        pad: zeros around what it sees.
        pool: height and width of the squares; 1 for none.
        bias: whether channels have one.
    """

    shape_in: tuple[int, int, int]
    outputs: int
    kernel: int
    pad: int
    pool: int
    bias: bool

    @property
    def inputs(self) -> int:
        """Incoming weights of a channel, without its bias."""
        return self.shape_in[0] * self.kernel**2

    @property
    def fan_in(self) -> int:
        """Incoming weights of a channel, its bias included."""
        return self.inputs + self.bias

    @property
    def n_weights(self) -> int:
        return self.outputs * self.fan_in

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a channel before pooling."""
        height, width = (side + 2 * self.pad - self.kernel + 1 for side in self.shape_in[1:])
        return height, width

    @property
    def shape_out(self) -> tuple[int, int, int]:
        """Channels, height and width of what it passes on."""
        height, width = (side // self.pool for side in self.size)
        return self.outputs, height, width

    @property
    def positions(self) -> int:
        """Pre-activations of a channel."""
        return math.prod(self.size)

    @property
    def places(self) -> int:
        """Values that a channel passes on."""
        return math.prod(self.shape_out[1:])


def lay_out(
    layers: Sequence[str], input_shape: Sequence[int], n_classes: int, bias: bool
) -> tuple[int, tuple[RealConv, ...], tuple[RealLinear, ...]]:
    """What a layer list comes to: 2x2 poolings of the input, convolutions, linear layers.

    Args:
        layers: 'conv C' for kernels of 3x3 on what is padded with zeros to keep its size,
            'conv C KxK' for others and no padding, 'pool', 'linear K'; the last layer, to the
            classes, is implied.

    Raises:
        NetworkError: no such layer, or one that does not fit what reaches it.
    """
    pools, stages, linears = 0, [], []
    shape = tuple(map(int, input_shape))
    image = shape if len(shape) == 3 else None

    def refuse(position: int, why: str) -> NetworkError:
        listed = ", ".join(layers)
        return NetworkError(f"layer {position} ({layers[position - 1]!r}) of [{listed}] {why}")

    for position, layer in enumerate((*layers, f"linear {n_classes}"), 1):
        found = _LAYER.fullmatch(layer)
        if found and found["kind"] == "linear" and not found["kernel"]:
            linears.append(RealLinear(math.prod(shape), int(found["units"]), bias))
            shape, image = (linears[-1].outputs,), None
            continue
        if layer != "pool" and not (found and found["kind"] == "conv"):
            raise NetworkError(
                f"layer {layer!r} is not one of 'conv C', 'conv C KxK', 'pool', 'linear K' "
                "(whole numbers from 1): correct it"
            )
        if image is None:
            met = "follows a linear layer" if linears else f"needs images, the input is {shape}"
            raise refuse(
                position,
                f"{met}: put conv and pool before every linear layer, and use them on (channels, "
                "height, width) inputs",
            )
        if found:
            kernel = int(found["kernel"] or 3)
            pad = 0 if found["kernel"] else 1
            if min(image[1:]) + 2 * pad < kernel:
                raise refuse(
                    position,
                    f"meets an image of {image[1]}x{image[2]}, smaller than its kernel: use a "
                    "smaller one, or remove a pool",
                )
            stages.append(RealConv(image, int(found["units"]), kernel, pad, 1, bias))
            image = stages[-1].shape_out
        elif min(image[1:]) < 2:
            raise refuse(
                position,
                f"meets an image of {image[1]}x{image[2]}: 2x2 pooling needs at least 2x2; remove "
                "a pool",
            )
        elif stages:
            stages[-1] = replace(stages[-1], pool=2 * stages[-1].pool)
            image = stages[-1].shape_out
        else:
            pools, image = pools + 1, (image[0], image[1] // 2, image[2] // 2)
        shape = image
    return pools, tuple(stages), tuple(linears)
