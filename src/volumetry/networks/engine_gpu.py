"""Incremental exact evaluation on a GPU: ``networks.engine`` as parts of Triton kernels.

One program evaluates one walker, a block of examples at a time; a block is the contiguous axis of
every array. Values have two sides, as in ``networks.engine``: a move writes its candidate beside
what is current, and to accept it toggles bytes. Weights are flipped only on acceptance: until then
``_weight`` says what they would be. All sums are exact integers, of the same types.

What a program's threads write to memory and read again is separated by barriers: the layout of
threads over a block may differ from one access to the next.
"""

from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from volumetry.networks.architecture import Network
from volumetry.networks.engine import layer_tables, map_dtype, sum_dtype
from volumetry.networks.forward import pool_inputs

ALIGNMENT = 32
"""The examples are padded to a multiple of this many: rows begin at whole sectors of memory."""

LARGEST_FLIPS = 15
"""Most flips of a move: the code for each pair of them is written out."""

_C_IN, _H_IN, _W_IN, _C_OUT, _H_OUT, _W_OUT, _POOLS, _WEIGHT, _CHANNEL, _ROW = map(
    tl.constexpr, range(10)
)
_INPUTS, _OUTPUTS, _L_WEIGHT, _UNIT = map(tl.constexpr, range(4))
_STAGES, _LINEARS = tl.constexpr(0), tl.constexpr(1)
_POSITIONS, _UNITS = tl.constexpr(8), tl.constexpr(16)  # pixels and units at a time
_CONVOLUTION = tl.constexpr(-2)


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


class Values(NamedTuple):
    """Current and candidate values of walkers: ``engine.State`` with one tile.

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


def layout(network: Network) -> tuple:
    """``engine.layer_tables`` as the constant that kernels are compiled for."""
    return tuple(tuple(map(tuple, table.tolist())) for table in layer_tables(network))


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


def make_values(network: Network, walkers: int, width: int, device) -> Values:
    """Memory for the values of ``walkers`` walkers."""
    pixels = sum(int(np.prod(stage.shape_out)) for stage in network.stages)
    channels = sum(stage.channels for stage in network.stages)
    units = sum(layer.outputs for layer in network.linears)

    def zeros(*shape, dtype=np.uint8):
        # Never empty, so that there is something to point to.
        shape = (walkers, *(max(1, size) for size in shape))
        return torch.zeros(shape, dtype=getattr(torch, np.dtype(dtype).name), device=device)

    return Values(
        zeros(2 * pixels, width, dtype=map_dtype(network)),
        zeros(channels),
        zeros(2 * units, width, dtype=sum_dtype(network)),
        zeros(units),
        width,
    )


@triton.jit
def values_of(values, walker, column, NET: tl.constexpr):
    """The values of one walker; examples are counted from ``column``."""
    stages: tl.constexpr = NET[_STAGES]
    last: tl.constexpr = NET[_LINEARS][-1]
    UNITS: tl.constexpr = last[_UNIT] + last[_OUTPUTS]
    PIXELS: tl.constexpr = (
        stages[-1][_ROW] + stages[-1][_C_OUT] * stages[-1][_H_OUT] * stages[-1][_W_OUT]
        if len(stages) > 0
        else 0
    )
    CHANNELS: tl.constexpr = stages[-1][_CHANNEL] + stages[-1][_C_OUT] if len(stages) > 0 else 0
    walker = walker.to(tl.int64)
    return Values(
        values.maps + walker * (2 * PIXELS) * values.width - column,
        values.map_side + walker * CHANNELS,
        values.sums + walker * (2 * UNITS) * values.width - column,
        values.sum_side + walker * UNITS,
        values.width,
    )


@triton.jit
def evaluate(
    examples, values, weights, flips, least, NET: tl.constexpr, M: tl.constexpr, BLOCK: tl.constexpr
):
    """Evaluate a move; the candidate's values go to the other sides.

    Args:
        values, weights: of one walker.
        flips: tuple of the M weights to flip.
        least: the smallest number of correct examples of interest.

    Returns:
        Number of examples classified correctly; some number below ``least`` if it is below that.
    """
    correct, left = 0, examples.n
    for start in range(0, examples.width, BLOCK):
        if correct + left >= least:
            e = start + tl.arange(0, BLOCK)
            correct += _evaluate_block(examples, values, weights, flips, e, NET, M, BLOCK)
            left -= BLOCK
    return correct


@triton.jit
def commit(values, weights, flips, NET: tl.constexpr, M: tl.constexpr):
    """Make the candidate of the last ``evaluate`` current, and flip the weights."""
    commit_values(values, flips, NET, M)
    for t in tl.static_range(M):
        tl.store(weights + flips[t], -tl.load(weights + flips[t]))


@triton.jit
def commit_values(values, flips, NET: tl.constexpr, M: tl.constexpr):
    """Make the candidate of the last ``evaluate`` current."""
    first = _first_layer(flips, NET, M)
    if first == _CONVOLUTION:
        for s in tl.static_range(len(NET[_STAGES])):
            C_OUT: tl.constexpr = NET[_STAGES][s][_C_OUT]
            channel = tl.arange(0, triton.next_power_of_2(C_OUT))
            side = values.map_side + NET[_STAGES][s][_CHANNEL] + channel
            changed = _channel_changes(s, channel, flips, NET, M)
            inside = channel < C_OUT
            tl.store(side, tl.load(side, inside, 0) ^ changed.to(tl.uint8), inside)
    for layer in tl.static_range(len(NET[_LINEARS])):
        if first <= layer:
            OUT: tl.constexpr = NET[_LINEARS][layer][_OUTPUTS]
            unit = tl.arange(0, triton.next_power_of_2(OUT))
            side = values.sum_side + NET[_LINEARS][layer][_UNIT] + unit
            changed = (first < layer) | _unit_is_hit(layer, unit, flips, NET, M)
            inside = unit < OUT
            tl.store(side, tl.load(side, inside, 0) ^ changed.to(tl.uint8), inside)


@triton.jit
def initialise_block(examples, values, weights, e, NET: tl.constexpr, BLOCK: tl.constexpr):
    """Compute all values of a block of examples from the weights; returns the number correct.

    They go to side 0, which has to be current everywhere.

    Args:
        values, weights: of one walker.
        e: the examples, (BLOCK).
    """
    inside = e < examples.width
    for s in tl.static_range(len(NET[_STAGES])):
        for channel in range(NET[_STAGES][s][_C_OUT]):
            _convolve(s, channel, 0, examples, values, weights, (), e, inside, NET, 0, BLOCK)
        tl.debug_barrier()
    correct = 0
    for layer in tl.static_range(len(NET[_LINEARS])):
        LAYER: tl.constexpr = NET[_LINEARS][layer]
        LAST: tl.constexpr = layer == len(NET[_LINEARS]) - 1
        TILE: tl.constexpr = triton.next_power_of_2(LAYER[_OUTPUTS]) if LAST else _UNITS
        label = tl.load(examples.label + e, inside, -1)
        for first in range(0, LAYER[_OUTPUTS], TILE):
            unit = first + tl.arange(0, TILE)
            total = tl.zeros((TILE, BLOCK), values.sums.dtype.element_ty)
            if LAST:
                total += (unit[:, None] < label[None, :]).to(total.dtype)
            for i in range(LAYER[_INPUTS]):
                row = _input(layer, i, 0, examples, values, e, inside, NET)
                total = _add(total, layer, i, row, unit, weights, (), NET, 0)
            here = unit < LAYER[_OUTPUTS]
            pointer = _rows(layer, unit, 0, here, values, NET)
            tl.store(pointer[:, None] + e[None, :], total, here[:, None] & inside[None, :])
            if LAST:
                correct = _count(total, unit, label, LAYER[_OUTPUTS])
        tl.debug_barrier()
    return correct


@triton.jit
def _evaluate_block(
    examples, values, weights, flips, e, NET: tl.constexpr, M: tl.constexpr, BLOCK: tl.constexpr
):
    inside = e < examples.width
    first = _first_layer(flips, NET, M)
    if first == _CONVOLUTION:
        for s in tl.static_range(len(NET[_STAGES])):
            for channel in range(NET[_STAGES][s][_C_OUT]):
                if _channel_changes(s, channel, flips, NET, M):
                    _convolve(
                        s, channel, 1, examples, values, weights, flips, e, inside, NET, M, BLOCK
                    )
            tl.debug_barrier()
    LAST: tl.constexpr = len(NET[_LINEARS]) - 1
    for layer in tl.static_range(LAST):
        OUT: tl.constexpr = NET[_LINEARS][layer][_OUTPUTS]
        if first == layer:
            # A unit that is hit twice is computed twice, and stored alike.
            unit, here = _units_hit(layer, flips, NET, M)
            _update(layer, first, unit, here, examples, values, weights, flips, e, inside, NET, M)
        elif first < layer:
            for tile in range(0, OUT, _UNITS):
                unit = tile + tl.arange(0, _UNITS)
                here = unit < OUT
                _update(
                    layer, first, unit, here, examples, values, weights, flips, e, inside, NET, M
                )
        tl.debug_barrier()
    CLASSES: tl.constexpr = NET[_LINEARS][LAST][_OUTPUTS]
    unit = tl.arange(0, triton.next_power_of_2(CLASSES))
    here = unit < CLASSES
    total = _update(LAST, first, unit, here, examples, values, weights, flips, e, inside, NET, M)
    return _count(total, unit, tl.load(examples.label + e, inside, -1), CLASSES)


@triton.jit
def _first_layer(flips, NET: tl.constexpr, M: tl.constexpr):
    """The first linear layer with a flipped weight; ``_CONVOLUTION`` if a stage has one."""
    lowest = flips[0]
    for t in tl.static_range(1, M):
        lowest = tl.minimum(lowest, flips[t])
    first = tl.full((), _CONVOLUTION, tl.int32)
    for layer in tl.static_range(len(NET[_LINEARS])):
        first = tl.where(lowest >= NET[_LINEARS][layer][_L_WEIGHT], layer, first)
    return first


@triton.jit
def _locate(layer: tl.constexpr, flip, NET: tl.constexpr):
    """Whether a flip is in a linear layer; its input and its unit there, or 0."""
    LAYER: tl.constexpr = NET[_LINEARS][layer]
    index = flip - LAYER[_L_WEIGHT]
    here = (index >= 0) & (index < LAYER[_INPUTS] * LAYER[_OUTPUTS])
    index = tl.where(here, index, 0)
    return here, index // LAYER[_OUTPUTS], index % LAYER[_OUTPUTS]


@triton.jit
def _unit_is_hit(layer: tl.constexpr, unit, flips, NET: tl.constexpr, M: tl.constexpr):
    """Whether a weight of a unit, or of each of several, is flipped."""
    hit = unit < 0
    for t in tl.static_range(M):
        here, _, u = _locate(layer, flips[t], NET)
        hit |= here & (unit == u)
    return hit


@triton.jit
def _units_hit(layer: tl.constexpr, flips, NET: tl.constexpr, M: tl.constexpr):
    """The unit that each flip hits in a layer, and whether it hits any: (M or more)."""
    slot = tl.arange(0, triton.next_power_of_2(M))
    unit, hits = slot * 0, slot < 0
    for t in tl.static_range(M):
        here, _, u = _locate(layer, flips[t], NET)
        unit = tl.where(slot == t, u, unit)
        hits |= (slot == t) & here
    return unit, hits


@triton.jit
def _channel_changes(s: tl.constexpr, channel, flips, NET: tl.constexpr, M: tl.constexpr):
    """Whether a channel of stage ``s`` has to be recomputed, or each of several."""
    STAGE: tl.constexpr = NET[_STAGES][s]
    SIZE: tl.constexpr = 9 * STAGE[_C_IN]
    changes = channel < 0
    for t in tl.static_range(M):
        index = flips[t] - STAGE[_WEIGHT]
        changes |= (index < 0) | (index >= channel * SIZE) & (index < channel * SIZE + SIZE)
    return changes


@triton.jit
def _weight(weights, index, inside, flips, M: tl.constexpr):
    """Weights as the move would leave them."""
    weight = tl.load(weights + index, inside, 0).to(tl.int32)
    for t in tl.static_range(M):
        weight = tl.where(index == flips[t], -weight, weight)
    return weight


@triton.jit
def _input(layer: tl.constexpr, i, other, examples, values, e, inside, NET: tl.constexpr):
    """Input ``i`` of a linear layer: current, or with ``other`` = 1 from the other side; (BLOCK)."""
    stages: tl.constexpr = NET[_STAGES]
    if layer > 0:
        unit = NET[_LINEARS][layer - 1][_UNIT] + i
        row = 2 * unit + (tl.load(values.sum_side + unit).to(tl.int32) ^ other)
        pointer = values.sums + row.to(tl.int64) * values.width
        value = tl.maximum(tl.load(pointer + e, inside, 0), 0)
    elif len(stages) > 0:
        PIXELS: tl.constexpr = stages[-1][_H_OUT] * stages[-1][_W_OUT]
        side = tl.load(values.map_side + stages[-1][_CHANNEL] + i // PIXELS).to(tl.int32)
        row = 2 * (stages[-1][_ROW] + i) + (side ^ other)
        pointer = values.maps + row.to(tl.int64) * values.width
        value = tl.load(pointer + e, inside, 0)
    else:
        row = i + tl.zeros((), tl.int64)
        value = tl.load(examples.x + row * examples.width + e, inside, 0)
    return value.to(values.sums.dtype.element_ty)


@triton.jit
def _change(layer: tl.constexpr, i, examples, values, e, inside, NET: tl.constexpr):
    """What input ``i`` of a linear layer changes by."""
    new = _input(layer, i, 1, examples, values, e, inside, NET)
    return new - _input(layer, i, 0, examples, values, e, inside, NET)


@triton.jit
def _add(
    total, layer: tl.constexpr, i, row, unit, weights, flips, NET: tl.constexpr, M: tl.constexpr
):
    """Add weight times ``row``, of input ``i``, to the sums of units."""
    LAYER: tl.constexpr = NET[_LINEARS][layer]
    index = LAYER[_L_WEIGHT] + i * LAYER[_OUTPUTS] + unit
    weight = _weight(weights, index, unit < LAYER[_OUTPUTS], flips, M).to(total.dtype)
    return total + weight[:, None] * row[None, :]


@triton.jit
def _rows(layer: tl.constexpr, unit, other, here, values, NET: tl.constexpr):
    """Pointers to the rows of units, current or on the other side."""
    unit += NET[_LINEARS][layer][_UNIT]
    row = 2 * unit + (tl.load(values.sum_side + unit, here, 0).to(tl.int32) ^ other)
    return values.sums + row.to(tl.int64) * values.width


@triton.jit
def _update(
    layer: tl.constexpr,
    first,
    unit,
    here,
    examples,
    values,
    weights,
    flips,
    e,
    inside,
    NET: tl.constexpr,
    M: tl.constexpr,
):
    """New sums of units: old sums + (new weights) . (changes of the inputs) + what flips do.

    Args:
        first: the first layer with a flipped weight.
        unit, here: the units, and which of them to look at.

    Returns:
        The sums (units, BLOCK); stored for the units that change.
    """
    LAYER: tl.constexpr = NET[_LINEARS][layer]
    pointer = _rows(layer, unit, 0, here, values, NET)
    total = tl.load(pointer[:, None] + e[None, :], here[:, None] & inside[None, :], 0)
    if layer > 0:
        if first == layer - 1:  # only inputs whose own weights are flipped change
            for t in tl.static_range(M):
                hits, _, i = _locate(layer - 1, flips[t], NET)
                for s in tl.static_range(t):  # each once
                    also, _, j = _locate(layer - 1, flips[s], NET)
                    hits &= ~(also & (i == j))
                row = _change(layer, i, examples, values, e, inside & hits, NET)
                total = _add(total, layer, i, row, unit, weights, flips, NET, M)
        elif first < layer - 1:
            for i in range(LAYER[_INPUTS]):
                row = _change(layer, i, examples, values, e, inside, NET)
                total = _add(total, layer, i, row, unit, weights, flips, NET, M)
    elif len(NET[_STAGES]) > 0:
        if first == _CONVOLUTION:
            STAGE: tl.constexpr = NET[_STAGES][-1]
            PIXELS: tl.constexpr = STAGE[_H_OUT] * STAGE[_W_OUT]
            for channel in range(STAGE[_C_OUT]):
                if _channel_changes(len(NET[_STAGES]) - 1, channel, flips, NET, M):
                    for i in range(channel * PIXELS, channel * PIXELS + PIXELS):
                        row = _change(layer, i, examples, values, e, inside, NET)
                        total = _add(total, layer, i, row, unit, weights, flips, NET, M)
    for t in tl.static_range(M):
        hits, i, u = _locate(layer, flips[t], NET)
        row = _input(layer, i, 0, examples, values, e, inside & hits, NET)
        twice = -2 * tl.load(weights + flips[t]).to(tl.int32)
        total += tl.where(hits & (unit == u), twice, 0).to(total.dtype)[:, None] * row[None, :]
    here &= (first < layer) | _unit_is_hit(layer, unit, flips, NET, M)
    pointer = _rows(layer, unit, 1, here, values, NET)
    tl.store(pointer[:, None] + e[None, :], total, here[:, None] & inside[None, :])
    return total


@triton.jit
def _count(total, unit, label, CLASSES: tl.constexpr):
    """Correct examples of a block: those whose own logit is the largest."""
    own = tl.sum(tl.where(unit[:, None] == label[None, :], total, 0), axis=0)
    lowest: tl.constexpr = -(2 ** (total.dtype.primitive_bitwidth - 1))
    best = tl.max(tl.where(unit[:, None] < CLASSES, total, lowest), axis=0)
    return tl.sum(((own >= best) & (label >= 0)).to(tl.int32), axis=0)


@triton.jit
def _convolve(
    s: tl.constexpr,
    channel,
    other: tl.constexpr,
    examples,
    values,
    weights,
    flips,
    e,
    inside,
    NET: tl.constexpr,
    M: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Recompute a channel of stage ``s`` for a block: convolution, pooling, ReLU."""
    STAGE: tl.constexpr = NET[_STAGES][s]
    C_IN: tl.constexpr = STAGE[_C_IN]
    HEIGHT: tl.constexpr = STAGE[_H_IN]
    WIDTH: tl.constexpr = STAGE[_W_IN]
    SIDE: tl.constexpr = 1 << STAGE[_POOLS]
    PIXELS: tl.constexpr = STAGE[_H_OUT] * STAGE[_W_OUT]
    narrow: tl.constexpr = values.maps.dtype.element_ty
    wide: tl.constexpr = tl.int32 if narrow == tl.int16 else narrow
    mark = STAGE[_CHANNEL] + channel
    side = tl.load(values.map_side + mark).to(tl.int32) ^ other
    for first in range(0, PIXELS, _POSITIONS):
        position = first + tl.arange(0, _POSITIONS)
        # ReLU and max-pooling commute: the maximum starts at zero.
        most = tl.zeros((_POSITIONS, BLOCK), wide)
        for offset in range(SIDE * SIDE):
            y = position // STAGE[_W_OUT] * SIDE + offset // SIDE
            x = position % STAGE[_W_OUT] * SIDE + offset % SIDE
            total = tl.zeros((_POSITIONS, BLOCK), wide)
            for c in range(C_IN):
                source = examples.x
                width = examples.width
                pixel, step, changed = c * (HEIGHT * WIDTH), 1, 0
                if s > 0:
                    BEFORE: tl.constexpr = NET[_STAGES][s - 1]
                    source = values.maps
                    width = values.width
                    changed = tl.load(values.map_side + BEFORE[_CHANNEL] + c).to(tl.int32)
                    if other:
                        changed ^= _channel_changes(s - 1, c, flips, NET, M).to(tl.int32)
                    pixel, step = BEFORE[_ROW] + pixel, 2
                for tap in tl.static_range(9):
                    v = y + (tap // 3 - 1)
                    h = x + (tap % 3 - 1)
                    there = (v >= 0) & (v < HEIGHT) & (h >= 0) & (h < WIDTH) & (position < PIXELS)
                    row = step * (pixel + v * WIDTH + h) + changed
                    pointer = source + row.to(tl.int64) * width
                    values_in = tl.load(
                        pointer[:, None] + e[None, :], there[:, None] & inside[None, :], 0
                    )
                    index = STAGE[_WEIGHT] + (channel * C_IN + c) * 9 + tap
                    weight = _weight(weights, index, True, flips, M).to(wide)
                    total += weight * values_in.to(wide)
            most = tl.maximum(most, total)
        row = 2 * (STAGE[_ROW] + channel * PIXELS + position) + side
        pointer = values.maps + row.to(tl.int64) * values.width
        here = (position < PIXELS)[:, None] & inside[None, :]
        tl.store(pointer[:, None] + e[None, :], most.to(narrow), here)
