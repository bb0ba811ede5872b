"""What evaluation on a GPU keeps, and how it is laid out; ``layout`` with one tile.

A block of examples is the contiguous axis of every array, and what kernels know of the layers are
constants.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from volumetry.engines.layout import Linear, Stage, layer_records, map_dtype, sum_dtype
from volumetry.networks.architecture import Network
from volumetry.networks.forward import pool_inputs

ALIGNMENT = 32
"""The examples are padded to a multiple of this many: rows begin at whole sectors of memory."""


@dataclass(frozen=True)
class Layout:
    """What kernels know of the layers: constants, for which they are compiled."""

    stages: tuple[Stage, ...]
    linears: tuple[Linear, ...]


class Examples(NamedTuple):
    """A set of examples on the device.

    Attributes:
        x: inputs (features, width).
        label: (width): labels; -1 for padding, which is therefore never correct.
        n: number of examples.
        width: examples and padding.
    """

    x: torch.Tensor
    label: torch.Tensor
    n: int
    width: int


class State(NamedTuple):
    """Current and candidate values of walkers: ``layout.State`` with one tile.

    Attributes:
        maps: (walkers, 2 * pixels, width).
        map_side: uint8 (walkers, channels).
        sums: (walkers, 2 * units, width).
        sum_side: uint8 (walkers, units).
        width: distance of rows.
    """

    maps: torch.Tensor
    map_side: torch.Tensor
    sums: torch.Tensor
    sum_side: torch.Tensor
    width: int


def layout(network: Network) -> Layout:
    """The constants of a network."""
    return Layout(*map(tuple, layer_records(network)))


def make_examples(network: Network, x: np.ndarray, y: np.ndarray, device) -> Examples:
    """Lay out a set of examples.

    Args:
        x: integers (n, *input_shape), none beyond ``network.input_bound``.
        y: labels (n,), 0..n_classes-1.
    """
    n = len(x)
    width = -(-n // ALIGNMENT) * ALIGNMENT
    x = pool_inputs(network, np.asarray(x)).reshape(n, -1)
    columns = np.zeros((x.shape[1], width), map_dtype(network))
    columns[:, :n] = x.T
    label = np.full(width, -1, np.int32)
    label[:n] = y
    x, label = (torch.from_numpy(array).to(device) for array in (columns, label))
    return Examples(x, label, n, width)


def make_states(network: Network, walkers: int, width: int, device) -> State:
    """Room for the values of ``walkers`` walkers."""
    pixels = sum(int(np.prod(stage.shape_out)) for stage in network.stages)
    channels = sum(stage.channels for stage in network.stages)
    units = sum(layer.outputs for layer in network.linears)

    def zeros(*shape, dtype=np.uint8):
        # Never empty, so that there is something to point to.
        shape = (walkers, *(max(1, size) for size in shape))
        return torch.zeros(shape, dtype=getattr(torch, np.dtype(dtype).name), device=device)

    return State(
        zeros(2 * pixels, width, dtype=map_dtype(network)),
        zeros(channels),
        zeros(2 * units, width, dtype=sum_dtype(network)),
        zeros(units),
        width,
    )


@triton.constexpr_function
def stage(NET, s, name):
    """A constant of a convolution stage; 0 if there is none."""
    return getattr(NET.stages[s], name) if NET.stages else 0


@triton.constexpr_function
def linear(NET, layer, name):
    """A constant of a linear layer."""
    return getattr(NET.linears[layer], name)


@triton.constexpr_function
def n_stages(NET):
    return len(NET.stages)


@triton.constexpr_function
def last_layer(NET):
    """The last linear layer."""
    return len(NET.linears) - 1


@triton.constexpr_function
def pixels_of(NET, s):
    """Pixels of a channel that a stage puts out."""
    return NET.stages[s].h_out * NET.stages[s].w_out if NET.stages else 0


@triton.constexpr_function
def _sizes(NET):
    """Outputs of all stages, their channels, and units: of one walker."""
    maps, channels = 0, 0
    if NET.stages:
        last = NET.stages[-1]
        maps = last.first_row + last.c_out * last.h_out * last.w_out
        channels = last.first_channel + last.c_out
    return maps, channels, NET.linears[-1].first_unit + NET.linears[-1].outputs


@triton.constexpr_function
def n_weights(NET):
    """M, the number of weights."""
    last = NET.linears[-1]
    return last.first_weight + last.inputs * last.outputs


@triton.constexpr_function
def power_of_2(size):
    return triton.next_power_of_2(size)


@triton.jit
def state_of(states, walker, column, NET: tl.constexpr):
    """The values of one walker; examples are counted from ``column``."""
    MAPS: tl.constexpr = _sizes(NET)[0]
    CHANNELS: tl.constexpr = _sizes(NET)[1]
    UNITS: tl.constexpr = _sizes(NET)[2]
    walker = walker.to(tl.int64)
    return State(
        states.maps + walker * (2 * MAPS) * states.width - column,
        states.map_side + walker * CHANNELS,
        states.sums + walker * (2 * UNITS) * states.width - column,
        states.sum_side + walker * UNITS,
        states.width,
    )
