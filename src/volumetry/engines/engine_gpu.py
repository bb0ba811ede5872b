"""Incremental exact evaluation on a GPU: ``networks.engine`` as parts of Triton kernels.

One program evaluates one walker, a block of examples at a time; a block is the contiguous axis of
every array. All values have two sides, as hidden ones have in ``networks.engine``: a move writes
its candidate beside what is current, and to accept it toggles bytes. Weights are flipped only on
acceptance: until then ``_weight`` says what they would be. All sums are exact integers, of the same
types.

What a program's threads write to memory and read again is separated by barriers: the layout of
threads over a block may differ from one access to the next.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from volumetry.engines.layout import layer_tables, map_dtype, sum_dtype
from volumetry.networks.architecture import Network
from volumetry.networks.forward import pool_inputs

ALIGNMENT = 32
"""The examples are padded to a multiple of this many: rows begin at whole sectors of memory."""

LARGEST_FLIPS = 15
"""Most flips of a move: the code for each pair of them is written out."""

_POSITIONS, _UNITS = tl.constexpr(8), tl.constexpr(16)  # pixels and units at a time
_CONVOLUTION = tl.constexpr(-2)


class _Stage(NamedTuple):
    """A row of ``layout.Plan.stages``."""

    c_in: int
    height: int
    width: int
    c_out: int
    h_out: int
    w_out: int
    pools: int
    weight: int
    channel: int
    row: int


class _Linear(NamedTuple):
    """What kernels need of a row of ``layout.Plan.linears``."""

    inputs: int
    outputs: int
    weight: int
    unit: int


@dataclass(frozen=True)
class Layout:
    """What kernels know of the layers: constants, for which they are compiled."""

    stages: tuple[_Stage, ...]
    linears: tuple[_Linear, ...]


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
    stages, linears = layer_tables(network)
    return Layout(
        tuple(_Stage(*row) for row in stages.tolist()),
        tuple(_Linear(*row[:4]) for row in linears.tolist()),
    )


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


@triton.constexpr_function
def _stage(NET, s, name):
    """A constant of a convolution stage; 0 if there is none."""
    return getattr(NET.stages[s], name) if NET.stages else 0


@triton.constexpr_function
def _linear(NET, layer, name):
    """A constant of a linear layer."""
    return getattr(NET.linears[layer], name)


@triton.constexpr_function
def _n_stages(NET):
    return len(NET.stages)


@triton.constexpr_function
def _last(NET):
    """The last linear layer."""
    return len(NET.linears) - 1


@triton.constexpr_function
def _pixels(NET, s):
    """Pixels of a channel that a stage puts out."""
    return NET.stages[s].h_out * NET.stages[s].w_out if NET.stages else 0


@triton.constexpr_function
def _sizes(NET):
    """Outputs of all stages, their channels, and units: of one walker."""
    maps, channels = 0, 0
    if NET.stages:
        last = NET.stages[-1]
        maps = last.row + last.c_out * last.h_out * last.w_out
        channels = last.channel + last.c_out
    return maps, channels, NET.linears[-1].unit + NET.linears[-1].outputs


@triton.constexpr_function
def n_weights(NET):
    """M, the number of weights."""
    last = NET.linears[-1]
    return last.weight + last.inputs * last.outputs


@triton.constexpr_function
def _power(size):
    return triton.next_power_of_2(size)


@triton.jit
def values_of(values, walker, column, NET: tl.constexpr):
    """The values of one walker; examples are counted from ``column``."""
    MAPS: tl.constexpr = _sizes(NET)[0]
    CHANNELS: tl.constexpr = _sizes(NET)[1]
    UNITS: tl.constexpr = _sizes(NET)[2]
    walker = walker.to(tl.int64)
    return Values(
        values.maps + walker * (2 * MAPS) * values.width - column,
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
        for s in tl.static_range(_n_stages(NET)):
            channel = tl.arange(0, _power(_stage(NET, s, "c_out")))
            changed = _channel_changes(s, channel, flips, NET, M)
            changed &= channel < _stage(NET, s, "c_out")
            _toggle(values.map_side + _stage(NET, s, "channel") + channel, changed)
    for layer in tl.static_range(_last(NET) + 1):
        if first <= layer:
            unit = tl.arange(0, _power(_linear(NET, layer, "outputs")))
            changed = (first < layer) | _unit_is_hit(layer, unit, flips, NET, M)
            changed &= unit < _linear(NET, layer, "outputs")
            _toggle(values.sum_side + _linear(NET, layer, "unit") + unit, changed)


@triton.jit
def _toggle(side, changed):
    tl.store(side, tl.load(side, changed, 0) ^ 1, changed)


@triton.jit
def initialise_block(examples, values, weights, e, NET: tl.constexpr, BLOCK: tl.constexpr):
    """Compute all values of a block of examples from the weights; returns the number correct.

    They go to side 0, which has to be current everywhere.

    Args:
        values, weights: of one walker.
        e: the examples, (BLOCK).
    """
    inside = e < examples.width
    for s in tl.static_range(_n_stages(NET)):
        for channel in range(_stage(NET, s, "c_out")):
            _convolve(s, channel, 0, examples, values, weights, (), e, inside, NET, 0, BLOCK)
        tl.debug_barrier()
    correct = 0
    for layer in tl.static_range(_last(NET) + 1):
        correct = _initialise_layer(layer, examples, values, weights, e, inside, NET, BLOCK)
        tl.debug_barrier()
    return correct


@triton.jit
def _initialise_layer(
    layer: tl.constexpr,
    examples,
    values,
    weights,
    e,
    inside,
    NET: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sums of a linear layer; returns the number correct if it is the last."""
    LAST: tl.constexpr = layer == _last(NET)
    OUT: tl.constexpr = _linear(NET, layer, "outputs")
    TILE: tl.constexpr = _power(OUT) if LAST else _UNITS
    label = tl.load(examples.label + e, inside, -1)
    correct = 0
    for first in range(0, OUT, TILE):
        unit = first + tl.arange(0, TILE)
        total = tl.zeros((TILE, BLOCK), values.sums.dtype.element_ty)
        if LAST:  # a tie with a lower class then loses
            total += (unit[:, None] < label[None, :]).to(total.dtype)
        for i in range(_linear(NET, layer, "inputs")):
            row = _input(layer, i, 0, examples, values, e, inside, NET)
            total = _add(total, layer, i, row, unit, weights, (), NET, 0)
        pointer = _rows(layer, unit, 0, unit < OUT, values, NET)
        tl.store(pointer[:, None] + e[None, :], total, (unit < OUT)[:, None] & inside[None, :])
        if LAST:
            correct += _count(total, unit, label, OUT)
    return correct


@triton.jit
def _evaluate_block(
    examples, values, weights, flips, e, NET: tl.constexpr, M: tl.constexpr, BLOCK: tl.constexpr
):
    inside = e < examples.width
    first = _first_layer(flips, NET, M)
    if first == _CONVOLUTION:
        for s in tl.static_range(_n_stages(NET)):
            for channel in range(_stage(NET, s, "c_out")):
                if _channel_changes(s, channel, flips, NET, M):
                    _convolve(
                        s, channel, 1, examples, values, weights, flips, e, inside, NET, M, BLOCK
                    )
            tl.debug_barrier()
    for layer in tl.static_range(_last(NET)):
        if first == layer:
            # A unit that is hit twice is computed twice, and stored alike.
            unit, here = _units_hit(layer, flips, NET, M)
            _update(layer, first, unit, here, examples, values, weights, flips, e, inside, NET, M)
            tl.debug_barrier()
        elif first < layer:
            for tile in range(0, _linear(NET, layer, "outputs"), _UNITS):
                unit = tile + tl.arange(0, _UNITS)
                here = unit < _linear(NET, layer, "outputs")
                _update(
                    layer, first, unit, here, examples, values, weights, flips, e, inside, NET, M
                )
            tl.debug_barrier()
    LAST: tl.constexpr = _last(NET)
    CLASSES: tl.constexpr = _linear(NET, LAST, "outputs")
    unit = tl.arange(0, _power(CLASSES))
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
    for layer in tl.static_range(_last(NET) + 1):
        first = tl.where(lowest >= _linear(NET, layer, "weight"), layer, first)
    return first


@triton.jit
def _locate(layer: tl.constexpr, flip, NET: tl.constexpr):
    """Whether a flip is in a linear layer; its input and its unit there, or 0."""
    index = flip - _linear(NET, layer, "weight")
    here = (index >= 0) & (index < _linear(NET, layer, "inputs") * _linear(NET, layer, "outputs"))
    index = tl.where(here, index, 0)
    return here, index // _linear(NET, layer, "outputs"), index % _linear(NET, layer, "outputs")


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
    slot = tl.arange(0, _power(M))
    unit, hits = slot * 0, slot < 0
    for t in tl.static_range(M):
        here, _, u = _locate(layer, flips[t], NET)
        unit = tl.where(slot == t, u, unit)
        hits |= (slot == t) & here
    return unit, hits


@triton.jit
def _channel_changes(s: tl.constexpr, channel, flips, NET: tl.constexpr, M: tl.constexpr):
    """Whether a channel of stage ``s`` has to be recomputed, or each of several."""
    SIZE: tl.constexpr = 9 * _stage(NET, s, "c_in")
    changes = channel < 0
    for t in tl.static_range(M):
        index = flips[t] - _stage(NET, s, "weight")
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
    """Input ``i`` of a linear layer: current, or of the other side; (BLOCK)."""
    if layer > 0:
        unit = _linear(NET, layer - 1, "unit") + i
        row = 2 * unit + (tl.load(values.sum_side + unit).to(tl.int32) ^ other)
        pointer = values.sums + row.to(tl.int64) * values.width
        value = tl.maximum(tl.load(pointer + e, inside, 0), 0)
    elif _n_stages(NET) > 0:
        PIXELS: tl.constexpr = _pixels(NET, -1)
        side = tl.load(values.map_side + _stage(NET, -1, "channel") + i // PIXELS).to(tl.int32)
        row = 2 * (_stage(NET, -1, "row") + i) + (side ^ other)
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
    index = _linear(NET, layer, "weight") + i * _linear(NET, layer, "outputs") + unit
    weight = _weight(weights, index, unit < _linear(NET, layer, "outputs"), flips, M).to(
        total.dtype
    )
    return total + weight[:, None] * row[None, :]


@triton.jit
def _rows(layer: tl.constexpr, unit, other, here, values, NET: tl.constexpr):
    """Pointers to the rows of units, current or on the other side."""
    unit += _linear(NET, layer, "unit")
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
            for i in range(_linear(NET, layer, "inputs")):
                row = _change(layer, i, examples, values, e, inside, NET)
                total = _add(total, layer, i, row, unit, weights, flips, NET, M)
    elif _n_stages(NET) > 0:
        if first == _CONVOLUTION:
            PIXELS: tl.constexpr = _pixels(NET, -1)
            for channel in range(_stage(NET, -1, "c_out")):
                if _channel_changes(_n_stages(NET) - 1, channel, flips, NET, M):
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
    C_IN: tl.constexpr = _stage(NET, s, "c_in")
    HEIGHT: tl.constexpr = _stage(NET, s, "height")
    WIDTH: tl.constexpr = _stage(NET, s, "width")
    SIDE: tl.constexpr = 1 << _stage(NET, s, "pools")
    PIXELS: tl.constexpr = _pixels(NET, s)
    narrow: tl.constexpr = values.maps.dtype.element_ty
    wide: tl.constexpr = tl.int32 if narrow == tl.int16 else narrow
    mark = _stage(NET, s, "channel") + channel
    side = tl.load(values.map_side + mark).to(tl.int32) ^ other
    for first in range(0, PIXELS, _POSITIONS):
        position = first + tl.arange(0, _POSITIONS)
        # ReLU and max-pooling commute: the maximum starts at zero.
        most = tl.zeros((_POSITIONS, BLOCK), wide)
        for offset in range(SIDE * SIDE):
            y = position // _stage(NET, s, "w_out") * SIDE + offset // SIDE
            x = position % _stage(NET, s, "w_out") * SIDE + offset % SIDE
            total = tl.zeros((_POSITIONS, BLOCK), wide)
            for c in range(C_IN):
                source = examples.x
                width = examples.width
                pixel, step, changed = c * (HEIGHT * WIDTH), 1, 0
                if s > 0:
                    source = values.maps
                    width = values.width
                    changed = tl.load(values.map_side + _stage(NET, s - 1, "channel") + c).to(
                        tl.int32
                    )
                    if other:
                        changed ^= _channel_changes(s - 1, c, flips, NET, M).to(tl.int32)
                    pixel, step = _stage(NET, s - 1, "row") + pixel, 2
                for tap in tl.static_range(9):
                    v = y + (tap // 3 - 1)
                    h = x + (tap % 3 - 1)
                    there = (v >= 0) & (v < HEIGHT) & (h >= 0) & (h < WIDTH) & (position < PIXELS)
                    row = step * (pixel + v * WIDTH + h) + changed
                    pointer = source + row.to(tl.int64) * width
                    pixels = tl.load(
                        pointer[:, None] + e[None, :], there[:, None] & inside[None, :], 0
                    )
                    index = _stage(NET, s, "weight") + (channel * C_IN + c) * 9 + tap
                    weight = _weight(weights, index, True, flips, M).to(wide)
                    total += weight * pixels.to(wide)
            most = tl.maximum(most, total)
        row = 2 * (_stage(NET, s, "row") + channel * PIXELS + position) + side
        pointer = values.maps + row.to(tl.int64) * values.width
        here = (position < PIXELS)[:, None] & inside[None, :]
        tl.store(pointer[:, None] + e[None, :], most.to(narrow), here)
