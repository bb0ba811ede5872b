"""Incremental exact evaluation: what a few flipped weights change, and nothing else.

A move flips m weights. One flipped weight of a linear layer changes one pre-activation, by twice
an input of that layer; one flipped weight of a convolution recomputes one channel. What follows
downstream is updated by differences. A candidate is written beside the current values (every unit
and channel has two *sides*), so accepting a move toggles a few bytes and rejecting it costs
nothing. All sums are exact integers, sized by the network's proven bound.

Layout: the examples are cut into tiles of at most ``TILE``; every array leads with the tile and
ends with the example, padded to a multiple of ``LANES``. Every inner loop then runs from 0 over
contiguous memory in whole vectors, and a tile stays in the cache. The sums of the last layer carry
+1 where their class is lower than the label: a tie with a lower class then loses, as the rule of
the lowest class wants, and an example is correct exactly when its own logit is the largest.
"""

from typing import NamedTuple

import numpy as np

from volumetry.jit import borrowed, inlined, jit
from volumetry.networks.architecture import Network
from volumetry.networks.forward import pool_inputs
from volumetry.philox import below, words

LANES = 32
"""The examples of a tile are padded to a multiple of this many."""

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
        own: (tiles, n_classes, width): -1 (all bits set) where the class is the label, else 0.
        lower: (tiles, n_classes, width): 1 where the class is below the label, else 0; 1 for
            class 0 of a padding example, which is therefore never correct.
        n: int64 (tiles): number of examples.
    """

    stages: np.ndarray
    linears: np.ndarray
    x: np.ndarray
    own: np.ndarray
    lower: np.ndarray
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
        signed: (8, width): signed sums of four changes.
        best: (2, width): the largest logit and the own logit.
        total: (1, width): one convolution.
    """

    change: np.ndarray
    active: np.ndarray
    signed: np.ndarray
    best: np.ndarray
    total: np.ndarray


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


def make_plan(network: Network, x: np.ndarray, y: np.ndarray) -> Plan:
    """Lay out a set of examples for incremental evaluation.

    Args:
        x: integers (n, *input_shape), none beyond ``network.input_bound``.
        y: labels (n,), 0..n_classes-1.
    """
    n = len(x)
    x = pool_inputs(network, np.asarray(x)).reshape(n, -1)
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
    tiles, width = _tiling(n)
    columns = _zeros((tiles, x.shape[1], width), map_dtype(network))
    own = _zeros((tiles, network.n_classes, width), sum_dtype(network))
    lower = _zeros(own.shape, own.dtype)
    lower[:, 0] = 1
    sizes = np.zeros(tiles, np.int64)
    classes = np.arange(network.n_classes)[:, None]
    for tile, part in enumerate(np.array_split(np.arange(n), tiles)):
        sizes[tile] = len(part)
        columns[tile, :, : len(part)] = x[part].T
        own[tile, :, : len(part)] = np.where(classes == y[part], -1, 0)
        lower[tile, :, : len(part)] = classes < y[part]
    return Plan(stages, linears, columns, own, lower, sizes)


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
        _zeros((8, width), dtype),
        _zeros((2, width), dtype),
        _zeros((1, width), map_dtype(network)),
    )


def _tiling(n: int) -> tuple[int, int]:
    """Number of tiles and their padded width."""
    tiles = max(1, -(-n // TILE))
    return tiles, -(-n // (tiles * LANES)) * LANES


def _zeros(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Zeros that start on a cache line, so that no vector of a row crosses one."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


@inlined
def borrow(plan, states, move, scratch):
    """All four records without reference counts; see ``volumetry.jit.borrowed``."""
    return (
        Plan(
            borrowed(plan.stages),
            borrowed(plan.linears),
            borrowed(plan.x),
            borrowed(plan.own),
            borrowed(plan.lower),
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
            borrowed(scratch.best),
            borrowed(scratch.total),
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
            state.sums[tile, 2 * (plan.linears[last, _L_UNIT] + k)] = plan.lower[tile, k]
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
    channels = move.channels
    maps = state.maps
    map_side = state.map_side
    stages = plan.stages
    x = plan.x
    total = scratch.total
    c_in, height, width = stages[s, _C_IN], stages[s, _H_IN], stages[s, _W_IN]
    h_out, w_out = stages[s, _H_OUT], stages[s, _W_OUT]
    block = 1 << stages[s, POOLS]
    size = x.shape[2]
    zero = maps.dtype.type(0)
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
            # ReLU and max-pooling commute: the maximum starts at zero.
            for e in range(size):
                maps[tile, out, e] = zero
            for offset in range(block * block):
                y, z = top + offset // block, left + offset % block
                for e in range(size):
                    total[0, e] = zero
                for c in range(c_in):
                    for dy in range(max(0, 1 - y), min(3, height + 1 - y)):
                        for dx in range(max(0, 1 - z), min(3, width + 1 - z)):
                            w = weights[first + c * 9 + dy * 3 + dx]
                            pixel = (c * height + y + dy - 1) * width + z + dx - 1
                            if s == 0:
                                for e in range(size):
                                    total[0, e] += w * x[tile, pixel, e]
                            else:
                                row = _map_row(stages, state, move, s - 1, pixel, 1)
                                for e in range(size):
                                    total[0, e] += w * maps[tile, row, e]
                for e in range(size):
                    maps[tile, out, e] = max(maps[tile, out, e], total[0, e])


@inlined
def _map_row(stages, state, move, s, pixel, candidate):
    """Row of ``maps`` that holds an output of stage ``s``: current, or candidate if it has one."""
    channels = move.channels
    map_side = state.map_side
    mark = stages[s, _S_CHANNEL] + pixel // (stages[s, _H_OUT] * stages[s, _W_OUT])
    side = map_side[mark] ^ (channels[mark] & candidate)
    return 2 * (stages[s, _S_ROW] + pixel) + side


@inlined
def _find_changes(plan, state, move, scratch, layer, tile):
    """List the inputs of a layer that change in a tile, and by how much; returns how many."""
    channels = move.channels
    first_stage = move.first_stage
    listed = move.units
    n_units = move.n_units
    maps = state.maps
    sums = state.sums
    sum_side = state.sum_side
    stages = plan.stages
    linears = plan.linears
    x = plan.x
    change = scratch.change
    active = scratch.active
    n_stages, size = stages.shape[0], x.shape[2]
    # Without the casts, mixed-width arithmetic is done in 64 bits.
    kind = sums.dtype.type
    zero = kind(0)
    n_active = 0
    if layer > 0:
        before = linears[layer - 1, _L_UNIT]
        for u in range(n_units[layer - 1]):
            i = listed[layer - 1, u]
            old = 2 * (before + i) + sum_side[before + i]
            new = old ^ 1
            seen = zero
            for e in range(size):
                d = kind(max(sums[tile, new, e], zero) - max(sums[tile, old, e], zero))
                change[n_active, e] = d
                seen = kind(seen | d)
            if seen != zero:
                active[n_active] = i
                n_active += 1
    elif n_stages == 0:
        if first_stage[0] < 0:
            for i in range(linears[0, _INPUTS]):
                for e in range(size):
                    change[i, e] = x[tile, i, e]
                active[i] = i
            n_active = linears[0, _INPUTS]
    elif first_stage[0] < n_stages:
        pixels = stages[n_stages - 1, _H_OUT] * stages[n_stages - 1, _W_OUT]
        for i in range(linears[0, _INPUTS]):
            if not channels[stages[n_stages - 1, _S_CHANNEL] + i // pixels]:
                continue
            old = _map_row(stages, state, move, n_stages - 1, i, 0)
            new = old ^ 1
            seen = zero
            for e in range(size):
                d = kind(maps[tile, new, e] - maps[tile, old, e])
                change[n_active, e] = d
                seen = kind(seen | d)
            if seen != zero:
                active[n_active] = i
                n_active += 1
    return n_active


@inlined
def _update_sums(plan, state, move, weights, scratch, layer, tile, n_active):
    """New sums of the touched units: old sums + (new weights) . (changes of the inputs)."""
    listed = move.units
    n_units = move.n_units
    sums = state.sums
    sum_side = state.sum_side
    linears = plan.linears
    x = plan.x
    change = scratch.change
    active = scratch.active
    outputs, unit0 = linears[layer, _OUTPUTS], linears[layer, _L_UNIT]
    first = linears[layer, _L_WEIGHT]
    size = x.shape[2]
    direct = n_active % 4
    for u in range(n_units[layer]):
        unit = listed[layer, u]
        old = 2 * (unit0 + unit) + sum_side[unit0 + unit]
        new = old ^ 1
        if direct == 0:
            for e in range(size):
                sums[tile, new, e] = sums[tile, old, e]
            continue
        w0 = weights[first + active[0] * outputs + unit]
        if direct == 1:
            for e in range(size):
                sums[tile, new, e] = sums[tile, old, e] + w0 * change[0, e]
            continue
        w1 = weights[first + active[1] * outputs + unit]
        if direct == 2:
            for e in range(size):
                sums[tile, new, e] = sums[tile, old, e] + w0 * change[0, e] + w1 * change[1, e]
            continue
        w2 = weights[first + active[2] * outputs + unit]
        for e in range(size):
            sums[tile, new, e] = (
                sums[tile, old, e] + w0 * change[0, e] + w1 * change[1, e] + w2 * change[2, e]
            )
    for t in range(direct, n_active, 4):
        _add_four(plan, state, move, weights, scratch, layer, tile, t)


@jit
def _add_four(plan, state, move, weights, scratch, layer, tile, t):
    """Add four changes of inputs to every touched unit.

    With weights of +-1 they have only eight sums up to a sign: made once, each unit then takes one
    addition instead of four.
    """
    listed = move.units
    n_units = move.n_units
    sums = state.sums
    sum_side = state.sum_side
    linears = plan.linears
    x = plan.x
    change = scratch.change
    active = scratch.active
    signed = scratch.signed
    outputs, unit0 = linears[layer, _OUTPUTS], linears[layer, _L_UNIT]
    first = linears[layer, _L_WEIGHT]
    size = x.shape[2]
    for c in range(8):
        s1, s2, s3 = 1 - 2 * (c & 1), 1 - (c & 2), 1 - ((c & 4) >> 1)
        for e in range(size):
            signed[c, e] = (
                change[t, e] + s1 * change[t + 1, e] + s2 * change[t + 2, e] + s3 * change[t + 3, e]
            )
    r0, r1 = first + active[t] * outputs, first + active[t + 1] * outputs
    r2, r3 = first + active[t + 2] * outputs, first + active[t + 3] * outputs
    for u in range(n_units[layer]):
        unit = listed[layer, u]
        new = 2 * (unit0 + unit) + (sum_side[unit0 + unit] ^ 1)
        w = weights[r0 + unit]
        c = (
            (w != weights[r1 + unit])
            + 2 * (w != weights[r2 + unit])
            + 4 * (w != weights[r3 + unit])
        )
        for e in range(size):
            sums[tile, new, e] += w * signed[c, e]


@inlined
def _add_flips(plan, state, move, weights, layer, tile):
    """Add what the flipped weights of a layer do to its sums: 2 (new weight) (old input)."""
    flips = move.flips
    maps = state.maps
    sums = state.sums
    sum_side = state.sum_side
    stages = plan.stages
    linears = plan.linears
    x = plan.x
    n_stages, size = stages.shape[0], x.shape[2]
    outputs, unit0 = linears[layer, _OUTPUTS], linears[layer, _L_UNIT]
    zero = sums.dtype.type(0)
    for t in range(flips.size):
        index = flips[t] - linears[layer, _L_WEIGHT]
        if index < 0 or index >= linears[layer, _INPUTS] * outputs:
            continue
        i, unit = index // outputs, index % outputs
        twice = 2 * weights[flips[t]]
        new = 2 * (unit0 + unit) + (sum_side[unit0 + unit] ^ 1)
        if layer > 0:
            before = linears[layer - 1, _L_UNIT] + i
            row = 2 * before + sum_side[before]
            for e in range(size):
                sums[tile, new, e] += twice * max(sums[tile, row, e], zero)
        elif n_stages == 0:
            for e in range(size):
                sums[tile, new, e] += twice * x[tile, i, e]
        else:
            row = _map_row(stages, state, move, n_stages - 1, i, 0)
            for e in range(size):
                sums[tile, new, e] += twice * maps[tile, row, e]


@inlined
def _count_correct(plan, state, move, scratch, tile):
    """Correct examples of a tile under the candidate: those whose own logit is the largest."""
    touched = move.touched
    sums = state.sums
    sum_side = state.sum_side
    linears = plan.linears
    x = plan.x
    own = plan.own
    best = scratch.best
    last = linears.shape[0] - 1
    unit0 = linears[last, _L_UNIT]
    size = x.shape[2]
    kind = sums.dtype.type
    for k in range(linears[last, _OUTPUTS]):
        # The other side of a logit is its candidate only where the move touched it.
        row = 2 * (unit0 + k) + (sum_side[unit0 + k] ^ touched[unit0 + k])
        if k == 0:
            for e in range(size):
                best[0, e] = sums[tile, row, e]
                best[1, e] = sums[tile, row, e] & own[tile, k, e]
        else:
            for e in range(size):
                best[0, e] = max(best[0, e], sums[tile, row, e])
                best[1, e] |= sums[tile, row, e] & own[tile, k, e]
    correct = kind(0)
    for e in range(size):
        correct = kind(correct + kind(best[1, e] >= best[0, e]))
    return np.int64(correct)
