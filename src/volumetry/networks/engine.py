"""Incremental exact evaluation: what a few flipped weights change, and nothing else.

A move flips m weights. One flipped weight of a linear layer changes one pre-activation, by twice
an input of that layer; one flipped weight of a convolution recomputes one channel. What follows
downstream is updated by differences. A candidate is written beside the current values (every unit
and channel has two *sides*), so accepting a move toggles a few bytes and rejecting it costs
nothing. All sums are exact integers, sized by the network's proven bound.

Layout: the examples are cut into tiles of at most ``TILE``; every array leads with the tile and
ends with the example, padded to a multiple of ``LANES``. Every inner loop then runs over contiguous
memory in whole vectors, and a tile stays in the cache. The sums of the last layer carry +1 where
their class is lower than the label: a tie with a lower class then loses, as the rule of the lowest
class wants, and an example is correct exactly when its own logit is the largest.
"""

from typing import NamedTuple

import numpy as np

from volumetry.jit import borrowed, inlined, jit
from volumetry.networks.architecture import Network
from volumetry.networks.forward import pool_inputs
from volumetry.philox import below, words
from volumetry.simd import (
    BYTES,
    any_set,
    count_at_least,
    lanes,
    load,
    load_like,
    maximum,
    splat,
    store,
    where_equal,
)

LANES = BYTES // 2
"""The examples of a tile are padded to a multiple of this many: vectors of the narrowest type."""

TILE = 1024
"""Most examples of a tile: a row of each array it needs fits the first-level cache."""


# Columns of ``Plan.stages`` and ``Plan.linears``.
_C_IN, _H_IN, _W_IN, _C_OUT, _H_OUT, _W_OUT, POOLS, _S_WEIGHT, _S_CHANNEL, _S_ROW = range(10)
_INPUTS, _OUTPUTS, _L_WEIGHT, _L_UNIT = range(4)


class Plan(NamedTuple):
    """The fixed part of an evaluation: a network and a set of n examples.

    Attributes:
        stages: int64 (stages, 10): shapes in and out, pools, offsets of weights, channels, rows.
        linears: int64 (linear layers, 4): inputs, outputs, offsets of weights and units.
        x: inputs (tiles, features, width).
        label: (tiles, width): labels; -1 for padding, which is therefore never correct.
        n: int64 (tiles): number of examples.
    """

    stages: np.ndarray
    linears: np.ndarray
    x: np.ndarray
    label: np.ndarray
    n: np.ndarray


class State(NamedTuple):
    """Current and candidate values of one walker on one set of examples.

    Attributes:
        maps: (tiles, 2 * pixels, width): outputs of the convolution stages; rows 2p and 2p + 1 are
            the two sides of pixel p.
        map_side: uint8 (channels): which side of a channel is current.
        sums: (tiles, 2 * units, width): pre-activations of the linear layers, sides likewise.
        sum_side: uint8 (units): which side of a unit is current.
    """

    maps: np.ndarray
    map_side: np.ndarray
    sums: np.ndarray
    sum_side: np.ndarray


class Move(NamedTuple):
    """A proposed move and what it touches.

    Attributes:
        flips: int64 (m): the flipped weights, ascending.
        channels: uint8 (channels): 1 where a channel has to be recomputed.
        first_stage: int64 (1): first stage with such a channel; the number of stages if none;
            -1 if everything is to be computed from nothing.
        units: int64 (linear layers, widest layer): units that change, listed.
        n_units: int64 (linear layers): how many are listed.
        touched: uint8 (units): 1 for the listed ones.
    """

    flips: np.ndarray
    channels: np.ndarray
    first_stage: np.ndarray
    units: np.ndarray
    n_units: np.ndarray
    touched: np.ndarray


class Scratch(NamedTuple):
    """Memory of one evaluation.

    Attributes:
        change: (most inputs of a layer, width): changes of the inputs of a layer.
        active: int64 (most inputs of a layer): inputs that change, listed.
        signed: (16, width): signed sums of two groups of up to four changes.
        rows: int64 (most rows at a time): the rows that a loop runs over.
    """

    change: np.ndarray
    active: np.ndarray
    signed: np.ndarray
    rows: np.ndarray


def _narrowest(bound: int, dtypes) -> np.dtype:
    # Differences and doubled inputs have to fit too.
    return next(np.dtype(dtype) for dtype in dtypes if 2 * bound <= np.iinfo(dtype).max)


def sum_dtype(network: Network) -> np.dtype:
    """The narrowest of int32 and int64 that holds the sums of every linear layer."""
    return _narrowest(max(layer.bound for layer in network.linears) + 1, (np.int32, np.int64))


def map_dtype(network: Network) -> np.dtype:
    """The narrowest of int16, int32 and int64 that holds inputs and convolutions."""
    bounds = [network.input_bound] + [stage.bound for stage in network.stages]
    return _narrowest(max(bounds), (np.int16, np.int32, np.int64))


def layer_tables(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """``Plan.stages`` and ``Plan.linears``: what kernels have to know of the layers."""
    stages = np.zeros((len(network.stages), 10), np.int64)
    linears = np.zeros((len(network.linears), 4), np.int64)
    weight = channel = pixel = unit = 0
    for record, stage in zip(stages, network.stages):
        record[:] = *stage.shape_in, *stage.shape_out, stage.pools, weight, channel, pixel
        weight += stage.n_weights
        channel += stage.channels
        pixel += int(np.prod(stage.shape_out))
    for record, layer in zip(linears, network.linears):
        record[:] = layer.inputs, layer.outputs, weight, unit
        weight += layer.n_weights
        unit += layer.outputs
    return stages, linears


def make_plan(network: Network, x: np.ndarray, y: np.ndarray) -> Plan:
    """Lay out a set of examples for incremental evaluation.

    Args:
        x: integers (n, *input_shape), none beyond ``network.input_bound``.
        y: labels (n,), 0..n_classes-1.
    """
    n = len(x)
    x = pool_inputs(network, np.asarray(x)).reshape(n, -1)
    tiles, width = _tiling(n)
    columns = _zeros((tiles, x.shape[1], width), map_dtype(network))
    label = _zeros((tiles, width), sum_dtype(network))
    label[:] = -1
    sizes = np.zeros(tiles, np.int64)
    for tile, part in enumerate(np.array_split(np.arange(n), tiles)):
        sizes[tile] = len(part)
        columns[tile, :, : len(part)] = x[part].T
        label[tile, : len(part)] = y[part]
    return Plan(*layer_tables(network), columns, label, sizes)


def make_states(network: Network, n: int, count: int) -> State:
    """Memory for the values of ``count`` walkers on n examples: a leading dimension."""
    pixels = sum(int(np.prod(stage.shape_out)) for stage in network.stages)
    channels = sum(stage.channels for stage in network.stages)
    units = sum(layer.outputs for layer in network.linears)
    tiles, width = _tiling(n)
    return State(
        _zeros((count, tiles, 2 * pixels, width), map_dtype(network)),
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
        np.zeros((len(network.linears), max(t.outputs for t in network.linears)), np.int64),
        np.zeros(len(network.linears), np.int64),
        np.zeros(sum(layer.outputs for layer in network.linears), np.uint8),
    )


def make_scratch(network: Network, n: int) -> Scratch:
    """Memory for evaluating moves on n examples."""
    most = max(layer.inputs for layer in network.linears)
    dtype = sum_dtype(network)
    _, width = _tiling(n)
    return Scratch(
        _zeros((most, width), dtype),
        np.zeros(most, np.int64),
        _zeros((16, width), dtype),
        np.zeros(max([network.n_classes] + [9 * s.shape_in[0] for s in network.stages]), np.int64),
    )


def _tiling(n: int) -> tuple[int, int]:
    """Number of tiles and their padded width."""
    tiles = max(1, -(-n // TILE))
    return tiles, -(-n // (tiles * LANES)) * LANES


def _zeros(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Zeros that start at a multiple of a vector's size, like the cache's lines."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + BYTES, np.uint8)
    start = -memory.ctypes.data % BYTES
    return memory[start : start + size].view(dtype).reshape(shape)


@inlined
def borrow(plan, states, move, scratch):
    """All four records without reference counts; see ``volumetry.jit.borrowed``."""
    return (
        Plan(
            borrowed(plan.stages),
            borrowed(plan.linears),
            borrowed(plan.x),
            borrowed(plan.label),
            borrowed(plan.n),
        ),
        State(
            borrowed(states.maps),
            borrowed(states.map_side),
            borrowed(states.sums),
            borrowed(states.sum_side),
        ),
        Move(
            borrowed(move.flips),
            borrowed(move.channels),
            borrowed(move.first_stage),
            borrowed(move.units),
            borrowed(move.n_units),
            borrowed(move.touched),
        ),
        Scratch(
            borrowed(scratch.change),
            borrowed(scratch.active),
            borrowed(scratch.signed),
            borrowed(scratch.rows),
        ),
    )


@inlined
def state_of(states, walker):
    """The values of one walker: views."""
    return State(
        states.maps[walker], states.map_side[walker], states.sums[walker], states.sum_side[walker]
    )


@inlined
def draw_flips(seed, stream, step, n_weights, flips):
    """Fill ``flips`` with distinct weights, uniform and ascending; returns a spare 32-bit word."""
    w0, w1, w2, spare = words(seed, stream, step, 0)
    for t in range(flips.size):
        if t > 0 and t % 3 == 0:
            w0, w1, w2, _ = words(seed, stream, step, t // 3)
        position = below(w0, n_weights - t)
        w0, w1 = w1, w2
        # Skip the weights already taken, keeping the list sorted as it grows.
        s = 0
        while s < t and position >= flips[s]:
            position += 1
            s += 1
        for r in range(t, s, -1):
            flips[r] = flips[r - 1]
        flips[s] = position
    return spare


@inlined
def flip(weights, flips):
    """Flip the listed weights; its own inverse."""
    for t in range(flips.size):
        weights[flips[t]] = -weights[flips[t]]


@inlined
def find_touched(plan, move):
    """List the channels and units that the flips of ``move`` can change."""
    flips = move.flips
    channels = move.channels
    listed = move.units
    n_units = move.n_units
    touched = move.touched
    stages = plan.stages
    linears = plan.linears
    n_stages, n_linears = stages.shape[0], linears.shape[0]
    for layer in range(n_linears):
        for u in range(n_units[layer]):
            touched[linears[layer, _L_UNIT] + listed[layer, u]] = 0
        n_units[layer] = 0
    if move.first_stage[0] < n_stages:
        for c in range(channels.size):
            channels[c] = 0
    first_stage = n_stages
    for t in range(flips.size):
        index = flips[t]
        if index < linears[0, _L_WEIGHT]:
            s = n_stages - 1
            while index < stages[s, _S_WEIGHT]:
                s -= 1
            channel = (index - stages[s, _S_WEIGHT]) // (9 * stages[s, _C_IN])
            channels[stages[s, _S_CHANNEL] + channel] = 1
            first_stage = min(first_stage, s)
        else:
            layer = n_linears - 1
            while index < linears[layer, _L_WEIGHT]:
                layer -= 1
            _touch(
                linears, move, layer, (index - linears[layer, _L_WEIGHT]) % linears[layer, _OUTPUTS]
            )
    move.first_stage[0] = first_stage
    for s in range(first_stage + 1, n_stages):
        for c in range(stages[s, _C_OUT]):
            channels[stages[s, _S_CHANNEL] + c] = 1
    spread = first_stage < n_stages
    for layer in range(n_linears):
        if spread:
            for unit in range(linears[layer, _OUTPUTS]):
                _touch(linears, move, layer, unit)
        spread = spread or n_units[layer] > 0


@inlined
def _touch(linears, move, layer, unit):
    listed = move.units
    n_units = move.n_units
    touched = move.touched
    mark = linears[layer, _L_UNIT] + unit
    if not touched[mark]:
        touched[mark] = 1
        listed[layer, n_units[layer]] = unit
        n_units[layer] += 1


@inlined
def evaluate(plan, state, move, weights, scratch, least):
    """Evaluate a move whose flips are already in ``weights``; values go to the other sides.

    Args:
        least: the smallest number of correct examples of interest.

    Returns:
        Number of examples classified correctly, or -1 as soon as it cannot reach ``least``.
    """
    left = plan.n.sum()
    correct = 0
    for tile in range(plan.x.shape[0]):
        for s in range(max(move.first_stage[0], 0), plan.stages.shape[0]):
            _convolve(plan, state, move, weights, scratch, s, tile)
        for layer in range(plan.linears.shape[0]):
            if move.n_units[layer] > 0:
                n_active = _find_changes(plan, state, move, scratch, layer, tile)
                _update_sums(plan, state, move, weights, scratch, layer, tile, n_active)
                _add_flips(plan, state, move, weights, layer, tile)
        correct += _count_correct(plan, state, move, scratch, tile)
        left -= plan.n[tile]
        if correct + left < least:
            return -1
    return correct


@inlined
def commit(plan, state, move):
    """Make the candidate of the last ``evaluate`` current."""
    channels = move.channels
    first_stage = move.first_stage
    listed = move.units
    n_units = move.n_units
    map_side = state.map_side
    sum_side = state.sum_side
    stages = plan.stages
    linears = plan.linears
    if first_stage[0] < stages.shape[0]:
        for c in range(channels.size):
            map_side[c] ^= channels[c]
    for layer in range(linears.shape[0]):
        for u in range(n_units[layer]):
            sum_side[linears[layer, _L_UNIT] + listed[layer, u]] ^= np.uint8(1)


@jit
def initialise(plan, state, move, weights, scratch):
    """Compute all values of a walker from its weights; returns the number correct.

    A full evaluation is a move of everything, away from nothing.
    """
    last = plan.linears.shape[0] - 1
    state.map_side[:] = 0
    state.sum_side[:] = 0
    state.maps[:] = 0
    state.sums[:] = 0
    for tile in range(plan.x.shape[0]):
        for k in range(plan.linears[last, _OUTPUTS]):
            row = 2 * (plan.linears[last, _L_UNIT] + k)
            for e in range(plan.label.shape[1]):
                state.sums[tile, row, e] = k < plan.label[tile, e]
    move.channels[:] = 1
    move.first_stage[0] = -1
    for layer in range(last + 1):
        for unit in range(plan.linears[layer, _OUTPUTS]):
            _touch(plan.linears, move, layer, unit)
    everything = Move(
        move.flips[:0], move.channels, move.first_stage, move.units, move.n_units, move.touched
    )
    correct = evaluate(plan, state, everything, weights, scratch, 0)
    commit(plan, state, everything)
    return correct


@jit
def _convolve(plan, state, move, weights, scratch, s, tile):
    """Recompute the marked channels of stage ``s`` for a tile: convolution, pooling, ReLU."""
    channels, stages = move.channels, plan.stages
    maps, map_side = state.maps, state.map_side
    source = plan.x if s == 0 else maps
    rows = scratch.rows
    c_in, height, width = stages[s, _C_IN], stages[s, _H_IN], stages[s, _W_IN]
    h_out, w_out = stages[s, _H_OUT], stages[s, _W_OUT]
    block = 1 << stages[s, POOLS]
    size = maps.shape[2]
    for channel in range(stages[s, _C_OUT]):
        mark = stages[s, _S_CHANNEL] + channel
        if not channels[mark]:
            continue
        side = 1 - map_side[mark]
        first = stages[s, _S_WEIGHT] + channel * c_in * 9
        pixel_out = stages[s, _S_ROW] + channel * h_out * w_out
        for position in range(h_out * w_out):
            top, left = (position // w_out) * block, (position % w_out) * block
            out = 2 * (pixel_out + position) + side
            for offset in range(block * block):
                y, z = top + offset // block, left + offset % block
                # Rows to be added are listed from the front, those to be subtracted from the back.
                added, subtracted = 0, rows.size
                for c in range(c_in):
                    for dy in range(max(0, 1 - y), min(3, height + 1 - y)):
                        for dx in range(max(0, 1 - z), min(3, width + 1 - z)):
                            row = (c * height + y + dy - 1) * width + z + dx - 1
                            if s > 0:
                                row = _map_row(stages, state, move, s - 1, row, 1)
                            if weights[first + c * 9 + dy * 3 + dx] > 0:
                                rows[added] = row
                                added += 1
                            else:
                                subtracted -= 1
                                rows[subtracted] = row
                for e in range(0, size, lanes(maps)):
                    total = splat(maps, 0)
                    # ReLU and max-pooling commute: the maximum starts at zero.
                    most = total if offset == 0 else load(maps, (tile, out, e))
                    for t in range(added):
                        total = total + load(source, (tile, rows[t], e))
                    for t in range(subtracted, rows.size):
                        total = total - load(source, (tile, rows[t], e))
                    store(maps, (tile, out, e), maximum(most, total))


@inlined
def _map_row(stages, state, move, s, pixel, candidate):
    """Row of ``maps`` that holds an output of stage ``s``: current, or candidate if it has one."""
    mark = stages[s, _S_CHANNEL] + pixel // (stages[s, _H_OUT] * stages[s, _W_OUT])
    side = state.map_side[mark] ^ (move.channels[mark] & candidate)
    return 2 * (stages[s, _S_ROW] + pixel) + side


@inlined
def _find_changes(plan, state, move, scratch, layer, tile):
    """List the inputs of a layer that change in a tile, and by how much; returns how many."""
    channels, first_stage = move.channels, move.first_stage
    listed, n_units = move.units, move.n_units
    maps = state.maps
    sums, sum_side = state.sums, state.sum_side
    stages, linears = plan.stages, plan.linears
    x = plan.x
    change, active = scratch.change, scratch.active
    n_stages, size = stages.shape[0], sums.shape[2]
    zero = splat(sums, 0)
    n_active = 0
    if layer > 0:
        before = linears[layer - 1, _L_UNIT]
        for u in range(n_units[layer - 1]):
            i = listed[layer - 1, u]
            old = 2 * (before + i) + sum_side[before + i]
            seen = zero
            for e in range(0, size, lanes(sums)):
                new = maximum(load(sums, (tile, old ^ 1, e)), zero)
                d = new - maximum(load(sums, (tile, old, e)), zero)
                store(change, (n_active, e), d)
                seen = seen | d
            if any_set(seen):
                active[n_active] = i
                n_active += 1
    elif n_stages == 0:
        if first_stage[0] < 0:
            for i in range(linears[0, _INPUTS]):
                for e in range(0, size, lanes(sums)):
                    store(change, (i, e), load_like(x, (tile, i, e), sums))
                active[i] = i
            n_active = linears[0, _INPUTS]
    elif first_stage[0] < n_stages:
        pixels = stages[n_stages - 1, _H_OUT] * stages[n_stages - 1, _W_OUT]
        for i in range(linears[0, _INPUTS]):
            if not channels[stages[n_stages - 1, _S_CHANNEL] + i // pixels]:
                continue
            old = _map_row(stages, state, move, n_stages - 1, i, 0)
            seen = zero
            for e in range(0, size, lanes(sums)):
                new = load_like(maps, (tile, old ^ 1, e), sums)
                d = new - load_like(maps, (tile, old, e), sums)
                store(change, (n_active, e), d)
                seen = seen | d
            if any_set(seen):
                active[n_active] = i
                n_active += 1
    return n_active


@inlined
def _update_sums(plan, state, move, weights, scratch, layer, tile, n_active):
    """New sums of the touched units: old sums + (new weights) . (changes of the inputs)."""
    listed, n_units = move.units, move.n_units
    sums, sum_side = state.sums, state.sum_side
    unit0 = plan.linears[layer, _L_UNIT]
    if n_active == 0:
        for u in range(n_units[layer]):
            unit = unit0 + listed[layer, u]
            old = 2 * unit + sum_side[unit]
            for e in range(0, sums.shape[2], lanes(sums)):
                store(sums, (tile, old ^ 1, e), load(sums, (tile, old, e)))
    for t in range(0, n_active, 8):
        _add_changes(plan, state, move, weights, scratch, layer, tile, t, min(n_active - t, 8))


@jit
def _add_changes(plan, state, move, weights, scratch, layer, tile, t, count):
    """Add the changes t..t + count - 1 of inputs, at most eight, to every touched unit.

    With weights of +-1, four of them have only eight sums up to a sign: made once, each unit then
    takes one addition instead of four.
    """
    listed, n_units = move.units, move.n_units
    sums, sum_side = state.sums, state.sum_side
    active, signed = scratch.active, scratch.signed
    outputs, unit0 = plan.linears[layer, _OUTPUTS], plan.linears[layer, _L_UNIT]
    first = plan.linears[layer, _L_WEIGHT]
    size = sums.shape[2]
    some, more = min(count, 4), max(count - 4, 0)
    _tabulate(scratch, t, some, 0)
    if more > 0:
        _tabulate(scratch, t + 4, more, 8)
    for u in range(n_units[layer]):
        unit = listed[layer, u]
        new = 2 * (unit0 + unit) + (sum_side[unit0 + unit] ^ 1)
        base = new ^ 1 if t == 0 else new
        a, w = _signs(weights, active, first + unit, outputs, t, some)
        a_sign = splat(sums, w)
        if more > 0:
            b, w = _signs(weights, active, first + unit, outputs, t + 4, more)
            b_sign = splat(sums, w)
            for e in range(0, size, lanes(sums)):
                total = a_sign * load(signed, (a, e)) + b_sign * load(signed, (8 + b, e))
                store(sums, (tile, new, e), load(sums, (tile, base, e)) + total)
        else:
            for e in range(0, size, lanes(sums)):
                total = load(sums, (tile, base, e)) + a_sign * load(signed, (a, e))
                store(sums, (tile, new, e), total)


@inlined
def _tabulate(scratch, t, count, row):
    """Signed sums of ``count`` changes: row + c subtracts change j where bit j - 1 of c is set."""
    change, signed = scratch.change, scratch.signed
    size = change.shape[1]
    for e in range(0, size, lanes(change)):
        store(signed, (row, e), load(change, (t, e)))
    for j in range(1, count):
        half = 1 << (j - 1)
        for c in range(row, row + half):
            for e in range(0, size, lanes(change)):
                total, d = load(signed, (c, e)), load(change, (t + j, e))
                store(signed, (c, e), total + d)
                store(signed, (c + half, e), total - d)


@inlined
def _signs(weights, active, first, outputs, t, count):
    """Row of the table of ``_tabulate`` with a unit's weights, and the sign that it needs."""
    w = weights[first + active[t] * outputs]
    row = 0
    for j in range(1, count):
        row |= np.int64(w != weights[first + active[t + j] * outputs]) << (j - 1)
    return row, w


@inlined
def _add_flips(plan, state, move, weights, layer, tile):
    """Add what the flipped weights of a layer do to its sums: 2 (new weight) (old input)."""
    flips = move.flips
    maps = state.maps
    sums, sum_side = state.sums, state.sum_side
    stages, linears = plan.stages, plan.linears
    x = plan.x
    n_stages, size = stages.shape[0], sums.shape[2]
    outputs, unit0 = linears[layer, _OUTPUTS], linears[layer, _L_UNIT]
    zero = splat(sums, 0)
    for t in range(flips.size):
        index = flips[t] - linears[layer, _L_WEIGHT]
        if index < 0 or index >= linears[layer, _INPUTS] * outputs:
            continue
        i, unit = index // outputs, index % outputs
        twice = splat(sums, 2 * weights[flips[t]])
        new = 2 * (unit0 + unit) + (sum_side[unit0 + unit] ^ 1)
        if layer > 0:
            before = linears[layer - 1, _L_UNIT] + i
            row = 2 * before + sum_side[before]
            for e in range(0, size, lanes(sums)):
                value = maximum(load(sums, (tile, row, e)), zero)
                store(sums, (tile, new, e), load(sums, (tile, new, e)) + twice * value)
        else:
            row = i if n_stages == 0 else _map_row(stages, state, move, n_stages - 1, i, 0)
            source = x if n_stages == 0 else maps
            for e in range(0, size, lanes(sums)):
                value = load_like(source, (tile, row, e), sums)
                store(sums, (tile, new, e), load(sums, (tile, new, e)) + twice * value)


@inlined
def _count_correct(plan, state, move, scratch, tile):
    """Correct examples of a tile under the candidate: those whose own logit is the largest."""
    touched = move.touched
    sums, sum_side = state.sums, state.sum_side
    rows, label = scratch.rows, plan.label
    last = plan.linears.shape[0] - 1
    unit0, classes = plan.linears[last, _L_UNIT], plan.linears[last, _OUTPUTS]
    for k in range(classes):
        # The other side of a logit is its candidate only where the move touched it.
        rows[k] = 2 * (unit0 + k) + (sum_side[unit0 + k] ^ touched[unit0 + k])
    lowest = splat(sums, np.iinfo(sums.dtype).min)
    correct = 0
    for e in range(0, sums.shape[2], lanes(sums)):
        own = best = lowest
        labels = load(label, (tile, e))
        for k in range(classes):
            value = load(sums, (tile, rows[k], e))
            best = maximum(best, value)
            own = where_equal(labels, splat(sums, k), value, own)
        correct += count_at_least(own, best)
    return correct
