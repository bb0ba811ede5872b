"""What incremental evaluation keeps in memory, and how it is laid out.

The examples are cut into tiles of at most ``TILE``; every array leads with the tile and ends with
the example, padded to whole vectors of ``LANES``. Examples are sorted by label, so that a vector
has few labels to look at. All values are exact integers, in types sized by the network's proven
bound.
"""

import math
from typing import NamedTuple

import numpy as np

from volumetry.kernels.jit import borrowed, inlined
from volumetry.kernels.simd import ALIGNMENT, LANES
from volumetry.networks.architecture import GROUP, Network, narrowest
from volumetry.networks.forward import pool_inputs

TILE = 2048
"""Most examples of a tile: one block of rows after another, it streams through the caches."""

CHUNK = 48
"""Groups tabulated at a time: their tables fit the first-level cache."""


class Stage(NamedTuple):
    """What kernels know of a convolution stage.

    Attributes:
        c_in, h_in, w_in, c_out, h_out, w_out: channels, height and width, in and out.
        pools: how often it pools, 2x2.
        first_weight, first_channel, first_row: how many weights, channels and outputs the stages
            before it have.
    """

    c_in: int
    h_in: int
    w_in: int
    c_out: int
    h_out: int
    w_out: int
    pools: int
    first_weight: int
    first_channel: int
    first_row: int


class Linear(NamedTuple):
    """What kernels know of a linear layer.

    Attributes:
        inputs, outputs: how many it has.
        first_weight: how many weights all layers before it have.
        first_unit, first_group: how many units, and groups of inputs, the linear layers before it
            have.
    """

    inputs: int
    outputs: int
    first_weight: int
    first_unit: int
    first_group: int


class Flip(NamedTuple):
    """What a flipped weight of a linear layer adds to a sum.

    Attributes:
        layer: its linear layer; -1 where the flip has no effect.
        source: row of its input.
        base, target: rows of the sum to start from, and of the one to write.
        twice: twice the new weight.
    """

    layer: int
    source: int
    base: int
    target: int
    twice: int


class Tap(NamedTuple):
    """A weight of a kernel: what it reads, from the centre of its window.

    Attributes:
        offset: to the row of the input.
        dy, dx: in pixels.
    """

    offset: int
    dy: int
    dx: int


def _dtype(record: type) -> np.dtype:
    """The type of an array of records: kernels read and write ``array[i].field``.

    It has to be aligned: without, a small move takes 1.2 times as long.
    """
    return np.dtype([(name, np.int64) for name in record._fields], align=True)


STAGE, LINEAR, FLIP, TAP = map(_dtype, (Stage, Linear, Flip, Tap))


class Plan(NamedTuple):
    """The fixed part of an evaluation: a network and a set of n examples.

    Attributes:
        stages: ``STAGE`` (stages).
        linears: ``LINEAR`` (linear layers).
        x: inputs (tiles, rows, width): features, then with stages the sums of the inputs under the
            3x3 window around each pixel, and a row of zeros.
        live: uint8 (rows): whether a row of x has anything but zeros.
        label: (tiles, width): labels, ascending. Padding has the last class: all its logits are
            zero, a tie, so it is never correct.
        labels: int64 (tiles, blocks, 2): the lowest and the highest label of a block.
        n: int64 (tiles): number of examples.
        move_bound: of the changes of maps that one move makes.
        flip_bound: of what each flipped weight of the stages contributes to them.
    """

    stages: np.ndarray
    linears: np.ndarray
    x: np.ndarray
    live: np.ndarray
    label: np.ndarray
    labels: np.ndarray
    n: np.ndarray
    move_bound: int
    flip_bound: int


class State(NamedTuple):
    """Current and candidate values of one walker on one set of examples.

    Attributes:
        maps: (tiles, 2 * pixels, width): outputs of the convolution stages; rows 2p and 2p + 1 are
            the two sides of pixel p.
        live: uint8 (2 * pixels): whether a row of maps has anything but zeros.
        map_side: uint8 (channels): which side of a channel is current.
        sums: (tiles, 2 * units, width): pre-activations of the linear layers, sides likewise.
        sum_side: uint8 (units): which side of a unit is current; 0 for the last layer, always.

    A state with one tile for a plan of several serves to count, as ``initialise`` does, no more.
    """

    maps: np.ndarray
    live: np.ndarray
    map_side: np.ndarray
    sums: np.ndarray
    sum_side: np.ndarray


class Move(NamedTuple):
    """A proposed move, and the channels that it changes.

    Attributes:
        flips: int64 (m): the flipped weights, ascending.
        channels: uint8 (channels): 1 where a channel has to be recomputed.
        first_stage: int64 (1): first stage with such a channel; the number of stages if none;
            -1 if everything is to be computed from nothing.
    """

    flips: np.ndarray
    channels: np.ndarray
    first_stage: np.ndarray


class Scratch(NamedTuple):
    """Room for one evaluation; it also says what ``revert`` has to take back.

    Attributes:
        units: int64 (linear layers, most units): those that may change, listed.
        n_units: int64 (linear layers): how many are listed.
        inputs: int64 (most inputs): inputs of a layer that may change, listed.
        n_inputs: int64 (linear layers): how many inputs of a layer may change.
        sources: int64 (linear layers, most inputs): rows of their current values.
        codes: uint16 (widest layer, groups of all layers): for each unit, where in ``table`` the
            sum of a group stands with the signs of the unit's weights.
        table: (chunk x 8 x ``LANES``): signed sums of changes of hidden units, for a block.
        map_table: the same of changes of maps or inputs, in their type.
        narrow: (8 x ``LANES``): signed sums of what flips of the first linear layer change in
            hidden units, in a type that just holds them.
        flips: ``FLIP`` (m or more): what the flips add.
        rows: int64 (most inputs that are pooled to one output): what a convolution adds.
        taps: ``TAP`` (most inputs of a window): of the rarer sign of a kernel.
        done: int64 (1): blocks evaluated.
        backwards: int64 (1): 1 if they were evaluated from the last one of each tile to the first.
    """

    units: np.ndarray
    n_units: np.ndarray
    inputs: np.ndarray
    n_inputs: np.ndarray
    sources: np.ndarray
    codes: np.ndarray
    table: np.ndarray
    map_table: np.ndarray
    narrow: np.ndarray
    flips: np.ndarray
    rows: np.ndarray
    taps: np.ndarray
    done: np.ndarray
    backwards: np.ndarray


def sum_dtype(network: Network) -> np.dtype:
    """The narrowest of int32 and int64 that holds the sums of every linear layer."""
    return np.dtype(f"i{network.sum_bytes}")


def map_dtype(network: Network) -> np.dtype:
    """The narrowest of int16, int32 and int64 that holds inputs and convolutions."""
    return np.dtype(f"i{network.map_bytes}")


def change_dtype(network: Network, flips: int) -> np.dtype:
    """The same for all that flips of the first linear layer together change in hidden units.

    Raises:
        NetworkError: not even 64 bits hold it.
    """
    # Each flip changes one unit, by twice an input.
    return np.dtype(f"i{narrowest(2 * flips * network.map_bound // GROUP + 1, 2)}")


def layer_records(network: Network) -> tuple[list[Stage], list[Linear]]:
    """What kernels know of the layers."""
    stages, linears = [], []
    weight = channel = row = unit = group = 0
    for stage in network.stages:
        place = weight, channel, row
        stages.append(Stage(*stage.shape_in, *stage.shape_out, stage.pools, *place))
        weight += stage.n_weights
        channel += stage.channels
        row += math.prod(stage.shape_out)
    for layer in network.linears:
        linears.append(Linear(layer.inputs, layer.outputs, weight, unit, group))
        weight += layer.n_weights
        unit += layer.outputs
        group += -(-layer.inputs // GROUP)
    return stages, linears


def layer_tables(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """``Plan.stages`` and ``Plan.linears``."""
    stages, linears = layer_records(network)
    return np.array(stages, STAGE), np.array(linears, LINEAR)


def make_plan(network: Network, x: np.ndarray, y: np.ndarray) -> Plan:
    """Lay out a set of examples for incremental evaluation.

    Args:
        x: integers (n, *input_shape), none beyond ``network.input_bound``.
        y: labels (n,), 0..n_classes-1.
    """
    n = len(x)
    x = pool_inputs(network, np.asarray(x))
    sums = _window_sums(x).reshape(n, -1) if network.stages else np.empty((n, 0), x.dtype)
    x = np.concatenate([x.reshape(n, -1), sums, np.zeros((n, 1), x.dtype)], axis=1)
    tiles, width = _tiling(n)
    dtype = map_dtype(network)
    columns = _zeros((tiles, x.shape[1], width), dtype)
    label = _zeros((tiles, width), sum_dtype(network))
    label[:] = network.n_classes - 1
    sizes = np.zeros(tiles, np.int64)
    for tile, part in enumerate(np.array_split(np.argsort(y, kind="stable"), tiles)):
        sizes[tile] = len(part)
        columns[tile, :, : len(part)] = x[part].T
        label[tile, : len(part)] = y[part]
    blocks = label.reshape(tiles, -1, LANES)
    labels = np.stack([blocks.min(2), blocks.max(2)], axis=2)
    bound = network.map_bound
    each = 2 * network.input_bound if len(network.stages) == 1 else bound
    return Plan(
        *layer_tables(network),
        columns,
        columns.any(axis=(0, 2)).astype(np.uint8),
        label,
        labels.astype(np.int64),
        sizes,
        bound,
        each,
    )


def _window_sums(x: np.ndarray) -> np.ndarray:
    """Sums over all channels of 3x3 windows, zeros beyond the edges: (examples, height, width)."""
    padded = np.pad(x.sum(axis=1), ((0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).sum(axis=(3, 4))


def make_states(network: Network, n: int, count: int, whole: bool = True) -> State:
    """Room for the values of ``count`` walkers on n examples: a leading dimension.

    If not ``whole``, there is room for one tile only, enough to count.
    """
    pixels = sum(math.prod(stage.shape_out) for stage in network.stages)
    channels = sum(stage.channels for stage in network.stages)
    units = sum(layer.outputs for layer in network.linears)
    tiles, width = _tiling(n)
    if not whole:
        tiles = 1
    return State(
        _zeros((count, tiles, 2 * pixels, width), map_dtype(network)),
        np.zeros((count, 2 * pixels), np.uint8),
        np.zeros((count, channels), np.uint8),
        _zeros((count, tiles, 2 * units, width), sum_dtype(network)),
        np.zeros((count, units), np.uint8),
    )


def make_move(network: Network, flips: int) -> Move:
    """An empty move of ``flips`` weights."""
    return Move(
        np.zeros(flips, np.int64),
        np.zeros(sum(stage.channels for stage in network.stages), np.uint8),
        np.zeros(1, np.int64),
    )


def make_scratch(network: Network, flips: int) -> Scratch:
    """Room for evaluating moves of ``flips`` weights."""
    linears = network.linears
    groups = sum(-(-layer.inputs // GROUP) for layer in linears)
    most = max(layer.inputs for layer in linears)
    stages = network.stages
    taps = max([9 * stage.shape_in[0] for stage in stages], default=0) + 4
    rows = max([taps * 4**stage.pools for stage in stages], default=0)
    return Scratch(
        np.zeros((len(linears), max(layer.outputs for layer in linears)), np.int64),
        np.zeros(len(linears), np.int64),
        np.zeros(most, np.int64),
        np.zeros(len(linears), np.int64),
        np.zeros((len(linears), most), np.int64),
        np.zeros((max(layer.outputs for layer in linears), groups), np.uint16),
        _zeros((CHUNK * 8 * LANES,), sum_dtype(network)),
        _zeros((CHUNK * 8 * LANES,), map_dtype(network)),
        _zeros((8 * LANES,), change_dtype(network, flips)),
        np.full(max(flips, GROUP), -1, FLIP),
        np.zeros(rows, np.int64),
        np.zeros(taps, TAP),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
    )


def _tiling(n: int) -> tuple[int, int]:
    """Number of tiles and their padded width."""
    tiles = max(1, -(-n // TILE))
    blocks = -(-n // (tiles * LANES))
    # The rows of a multiple of 8 blocks would all compete for the same few places of a cache.
    return tiles, (blocks + (blocks % 8 == 0)) * LANES


def _zeros(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Zeros that start at a multiple of a vector's size, like the cache's lines."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


@inlined
def borrow(plan, states, move, scratch):
    """All four records without reference counts; see ``volumetry.kernels.jit.borrowed``."""
    return (
        Plan(
            borrowed(plan.stages),
            borrowed(plan.linears),
            borrowed(plan.x),
            borrowed(plan.live),
            borrowed(plan.label),
            borrowed(plan.labels),
            borrowed(plan.n),
            plan.move_bound,
            plan.flip_bound,
        ),
        State(
            borrowed(states.maps),
            borrowed(states.live),
            borrowed(states.map_side),
            borrowed(states.sums),
            borrowed(states.sum_side),
        ),
        Move(
            borrowed(move.flips),
            borrowed(move.channels),
            borrowed(move.first_stage),
        ),
        Scratch(
            borrowed(scratch.units),
            borrowed(scratch.n_units),
            borrowed(scratch.inputs),
            borrowed(scratch.n_inputs),
            borrowed(scratch.sources),
            borrowed(scratch.codes),
            borrowed(scratch.table),
            borrowed(scratch.map_table),
            borrowed(scratch.narrow),
            borrowed(scratch.flips),
            borrowed(scratch.rows),
            borrowed(scratch.taps),
            borrowed(scratch.done),
            borrowed(scratch.backwards),
        ),
    )


@inlined
def state_of(states, walker):
    """The values of one walker: views."""
    return State(
        states.maps[walker],
        states.live[walker],
        states.map_side[walker],
        states.sums[walker],
        states.sum_side[walker],
    )
