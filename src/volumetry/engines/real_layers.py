"""What kernels do with one layer of real weights: what its units pass on, what they add up.

A value is a row with a number for each example. The channel of a convolution is a unit with a
pre-activation at every position; it passes on the largest of each square.
"""

from typing import NamedTuple

import numpy as np

from volumetry.kernels.jit import borrowed, inlined, part
from volumetry.networks.real import ACTIVATIONS, LEAK, RealNetwork
from volumetry.networks.real_layers import RealConv

_LINEAR, _RELU, _TANH, _LEAKY = range(len(ACTIVATIONS))


class RealLayer(NamedTuple):
    """What kernels know of a layer.

    Attributes:
        inputs, fan_in, outputs: inputs, incoming weights of a unit (with its bias), and units.
        first_weight: how many weights the layers before it have.
        first_sum, first_value: its first row among pre-activations, and among what is passed on.
        positions, places: rows of a unit among the former, and among the latter.
        from_one: incoming weights of a unit that look at one unit of the layer before.
        kernel, pad, height, width: of a convolution, and of what it sees; 0 of a linear layer.
        rows, columns, pool: height and width of a channel, and of the squares it passes on.
    """

    inputs: int
    fan_in: int
    outputs: int
    first_weight: int
    first_sum: int
    first_value: int
    positions: int
    places: int
    from_one: int
    kernel: int
    pad: int
    height: int
    width: int
    rows: int
    columns: int
    pool: int


LAYER = np.dtype([(name, np.int64) for name in RealLayer._fields], align=True)


def layer_records(network: RealNetwork) -> np.ndarray:
    """``RealLayer`` of each layer of a network."""
    layers, sums, values, places = [], 0, 0, 1
    for own, segment in zip(network.layers_with_weights, network.segments):
        if isinstance(own, RealConv):
            shape = own.kernel, own.pad, *own.shape_in[1:], *own.size, own.pool
            from_one = own.kernel**2
        else:
            shape, from_one = (0,) * 7, places
        places = own.places
        sizes = own.inputs, own.fan_in, own.outputs
        starts = segment.first, sums, values
        layers.append((*sizes, *starts, own.positions, places, from_one, *shape))
        sums, values = sums + own.outputs * own.positions, values + own.outputs * places
    return np.array(layers, LAYER)


@inlined
def pass_row(sums, values, activation):
    """What a unit passes on, example by example."""
    if activation == _RELU:
        for e in range(sums.size):
            values[e] = max(sums[e], 0.0)
    elif activation == _TANH:
        for e in range(sums.size):
            values[e] = np.tanh(sums[e])
    elif activation == _LEAKY:
        for e in range(sums.size):
            values[e] = max(sums[e], LEAK * sums[e])
    else:
        values[:] = sums


@inlined
def pass_unit(own, sums, row, values, value, activation):
    """What a unit passes on, from its pre-activations from ``row`` on."""
    if own.kernel == 0:
        pass_row(sums[row], values[value], activation)
    else:
        _pass_channel(own, sums, row, values, value, activation)


@part
def _pass_channel(own, sums, row, values, value, activation):
    sums, values = borrowed(sums), borrowed(values)
    across = own.columns // own.pool
    for place in range(own.places):
        corner = row + own.pool * (place // across * own.columns + place % across)
        largest = borrowed(values[value + place])
        largest[:] = sums[corner]
        for y in range(own.pool):
            for x in range(own.pool):
                for e in range(largest.size):
                    largest[e] = max(largest[e], sums[corner + y * own.columns + x, e])
        pass_row(largest, largest, activation)


@inlined
def add(own, number, factor, source, first, sums, row):
    """Add ``factor`` times what an incoming weight looks at to pre-activations from ``row`` on.

    ``source`` has what the layer sees, from row ``first`` on.
    """
    if number == own.inputs:  # a bias
        for p in range(own.positions):
            for e in range(sums.shape[1]):
                sums[row + p, e] += factor
    elif own.kernel == 0:
        for e in range(sums.shape[1]):
            sums[row, e] += factor * source[first + number, e]
    else:
        _add_shifted(own, number, factor, source, first, sums, row)


@part
def _add_shifted(own, number, factor, source, first, sums, row):
    source, sums = borrowed(source), borrowed(sums)
    area = own.kernel * own.kernel
    channel, place = number // area, number % area
    down, right = place // own.kernel - own.pad, place % own.kernel - own.pad
    for y in range(max(0, -down), min(own.rows, own.height - down)):
        for x in range(max(0, -right), min(own.columns, own.width - right)):
            seen = first + (channel * own.height + y + down) * own.width + x + right
            to = row + y * own.columns + x
            for e in range(sums.shape[1]):
                sums[to, e] += factor * source[seen, e]
