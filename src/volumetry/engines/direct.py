"""Moves of few weights, none of a convolution, through one hidden layer at most: nearly all.

Hidden sums and logits are updated in place, one block of examples after the other; a rejected move
is made once more, backwards. With weights of +-1, three changes of hidden units have only eight
signed sums: they are tabulated once, and every logit then takes one addition instead of three.
"""

import numpy as np

from volumetry.engines.common import (
    add_last_flips,
    count_correct,
    locate,
    slot_of,
    source_of,
    store_signed_sums,
)
from volumetry.engines.layout import GROUP
from volumetry.kernels.jit import inlined
from volumetry.kernels.simd import LANES, convert, item, load, maximum, prefetch, splat, store


@inlined
def evaluate(plan, state, move, weights, scratch, least):
    """``evaluator.evaluate`` for a move that may be made directly."""
    _list_flips(plan, state, move, weights, scratch)
    scratch.done[0] = 0
    scratch.backwards[0] ^= 1
    left = plan.n.sum()
    correct = 0
    for tile in range(plan.x.shape[0]):
        left -= plan.n[tile]
        add_last_flips(plan, state, move, scratch, tile, False)
        correct += _move_tile(plan, state, scratch, tile, least - correct - left)
        if correct + left < least:
            return -1
    return correct


@inlined
def revert(plan, state, move, scratch):
    """Take the last ``evaluate`` back."""
    blocks = plan.x.shape[2] // LANES
    for tile in range(plan.x.shape[0]):
        count = min(blocks, scratch.done[0] - tile * blocks)
        if count > 0:
            _move_tile_back(plan, state, scratch, tile, count)
            add_last_flips(plan, state, move, scratch, tile, True)
    scratch.backwards[0] ^= 1


@inlined
def _list_flips(plan, state, move, weights, scratch):
    """List what the flips add, and where each logit finds the signed sum of their changes."""
    linears, table, codes = plan.linears, scratch.flips, scratch.codes
    last = linears.size - 1
    first, column = linears[last].first_weight, linears[last].first_group
    classes = linears[last].outputs
    scratch.n_units[0] = 0
    for t in range(move.flips.size):
        layer = last if move.flips[t] >= first else 0
        i, unit = locate(linears, layer, move.flips[t])
        source, effect = source_of(plan, state, move, layer, i)
        table[t].layer = layer if effect else -1
        table[t].source = source
        table[t].base = table[t].target = 2 * unit + state.sum_side[unit]
        table[t].twice = 2 * weights[move.flips[t]]
        if last > 0:
            start = first + (i if layer > 0 else unit) * classes
            for k in range(classes):
                code = np.int64(weights[start + k] < 0) * (LANES << t)
                codes[k, column] = code if t == 0 else codes[k, column] + code
    for t in range(move.flips.size, GROUP):  # of an earlier move of more flips
        table[t].layer = -1


@inlined
def _move_tile(plan, state, scratch, tile, least):
    """Move the hidden sums and the logits of a tile in place; returns how many examples are right.

    Every other move goes through the blocks backwards: what the last one left in the cache is met
    before it is driven out.
    """
    sums, table, codes = state.sums, scratch.narrow, scratch.codes
    outputs, column = plan.linears[-1].outputs, plan.linears[-1].first_group
    slot, first_row = slot_of(state, tile), 2 * plan.linears[-1].first_unit
    first, second, third = _read_flips(plan, scratch, False)
    moved = first[0] or second[0] or third[0]
    lowest = splat(sums, np.iinfo(sums.dtype).min)
    last = plan.x.shape[2] - LANES
    start, step = (last, -LANES) if scratch.backwards[0] else (0, LANES)
    correct = 0
    for i in range(0, last + LANES, LANES):
        e = start
        start += step
        if moved:
            _move_units(plan, state, scratch, first, second, third, tile, e)
        best = lowest
        row = first_row
        for k in range(outputs):
            value = load(sums, (slot, row, e))
            if moved:
                value = value + convert(load(table, (item(codes, (k, column)),)), sums)
                store(sums, (slot, row, e), value)
            best = maximum(best, value)
            row += 2
        correct += count_correct(plan, sums, slot, first_row, tile, e, best)
        scratch.done[0] += 1
        if correct + last - i < least:
            break
    return correct


@inlined
def _move_tile_back(plan, state, scratch, tile, blocks):
    """Take what ``_move_tile`` did to its first blocks of a tile back, the last one first."""
    sums, table, codes = state.sums, scratch.narrow, scratch.codes
    outputs, column = plan.linears[-1].outputs, plan.linears[-1].first_group
    slot, first_row = slot_of(state, tile), 2 * plan.linears[-1].first_unit
    size = blocks * LANES
    start, step = (
        (plan.x.shape[2] - size, LANES) if scratch.backwards[0] else (size - LANES, -LANES)
    )
    first, second, third = _read_flips(plan, scratch, True)
    if first[0] or second[0] or third[0]:
        for _ in range(blocks):
            _move_units(plan, state, scratch, first, second, third, tile, start)
            row = first_row
            for k in range(outputs):
                change = convert(load(table, (item(codes, (k, column)),)), sums)
                store(sums, (slot, row, start), load(sums, (slot, row, start)) + change)
                row += 2
            start += step


@inlined
def _read_flips(plan, scratch, back):
    """The direct flips, as ``_move_units`` takes them."""
    return (
        _read_flip(plan, scratch, 0, back),
        _read_flip(plan, scratch, 1, back),
        _read_flip(plan, scratch, 2, back),
    )


@inlined
def _read_flip(plan, scratch, t, back):
    """A direct flip of a hidden unit: whether it is one, and rows of input and sum, and factor."""
    flips = scratch.flips
    hidden = plan.linears.size > 1 and flips[t].layer == 0
    twice = -flips[t].twice if back else flips[t].twice
    return hidden, flips[t].source, flips[t].base, twice


@inlined
def _move_units(plan, state, scratch, first, second, third, tile, e):
    """Make three flips in a block in place, and tabulate what they change in the logits."""
    table = scratch.narrow
    a = b = c = splat(table, 0)
    if first[0]:
        a = _move_unit(plan, state, scratch, first, tile, e)
    if second[0]:
        b = _move_unit(plan, state, scratch, second, tile, e)
    if third[0]:
        c = _move_unit(plan, state, scratch, third, tile, e)
    store_signed_sums(table, 0, a, b, c)


@inlined
def _move_unit(plan, state, scratch, flip, tile, e):
    """Add twice an input to a hidden unit in a block; returns the change of its output."""
    sums, maps = state.sums, state.maps
    slot, zero = slot_of(state, tile), splat(state.sums, 0)
    _, source, row, twice = flip
    if plan.stages.size > 0:
        value = load(maps, (slot, source, e))
        prefetch(maps, (slot + 1, source, e))
    else:
        value = load(plan.x, (tile, source, e))
    old = load(sums, (slot, row, e))
    prefetch(sums, (slot + 1, row, e))
    new = old + convert(value * splat(maps, twice), sums)
    store(sums, (slot, row, e), new)
    return convert(maximum(new, zero) - maximum(old, zero), scratch.narrow)
