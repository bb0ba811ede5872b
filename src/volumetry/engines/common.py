"""What both ways of making a move share: locate a flip, add it, count what is right."""

from volumetry.kernels.jit import inlined
from volumetry.kernels.simd import (
    LANES,
    convert,
    count_at_least,
    item,
    load,
    maximum,
    splat,
    store,
    where_equal,
)


@inlined
def locate(linears, layer, weight):
    """The input of a linear layer, and the unit, counted over all layers, that a weight joins."""
    index, outputs = weight - linears[layer].first_weight, linears[layer].outputs
    i = index // outputs
    return i, linears[layer].first_unit + index - i * outputs


@inlined
def source_of(plan, state, move, layer, i):
    """Row of input ``i`` of a linear layer, and whether any example has more than zero there."""
    if layer > 0:
        unit = plan.linears[layer - 1].first_unit + i
        return 2 * unit + state.sum_side[unit], True
    if plan.stages.size > 0:
        source = map_row(plan.stages, state, move, plan.stages.size - 1, i, 0)
        return source, state.live[source] > 0
    return i, plan.live[i] > 0


@inlined
def map_row(stages, state, move, s, pixel, candidate):
    """Row of ``maps`` that holds an output of stage ``s``: current, or candidate if it has one."""
    mark = stages[s].first_channel + pixel // (stages[s].h_out * stages[s].w_out)
    side = state.map_side[mark] ^ (move.channels[mark] & candidate)
    return 2 * (stages[s].first_row + pixel) + side


@inlined
def slot_of(state, tile):
    """Where a state keeps the values of a tile."""
    return tile if state.sums.shape[0] > 1 else 0


@inlined
def add_flip(plan, state, scratch, t, layer, tile, back):
    """Add 2 (new weight) (old input) to the sum of flip ``t``, or take it ``back``."""
    sums, maps, x = state.sums, state.maps, plan.x
    slot, width = slot_of(state, tile), x.shape[2]
    flips = scratch.flips
    source, base, target = flips[t].source, flips[t].base, flips[t].target
    twice = -flips[t].twice if back else flips[t].twice
    stages = plan.stages.size
    for e in range(0, width, LANES):
        if layer > 0:
            value = maximum(load(sums, (slot, source, e)), splat(sums, 0))
        elif stages > 0:
            value = convert(load(maps, (slot, source, e)), sums)
        else:
            value = convert(load(x, (tile, source, e)), sums)
        total = load(sums, (slot, base, e)) + value * splat(sums, twice)
        store(sums, (slot, target, e), total)


@inlined
def add_last_flips(plan, state, move, scratch, tile, back):
    """Add the flips of the last layer to the logits: they take the inputs before the move."""
    last = plan.linears.size - 1
    for t in range(move.flips.size):
        if scratch.flips[t].layer == last:
            add_flip(plan, state, scratch, t, last, tile, back)


@inlined
def store_signed_sums(table, group, a, b, c):
    """+-a +- b +- c in all ways; bits 0, 1 and 2 of the way say which are subtracted."""
    zero = splat(table, 0)
    plus, minus = a + b, a - b
    place = 8 * LANES * group
    store(table, (place,), plus + c)
    store(table, (place + LANES,), c - minus)
    store(table, (place + 2 * LANES,), minus + c)
    store(table, (place + 3 * LANES,), c - plus)
    store(table, (place + 4 * LANES,), plus - c)
    store(table, (place + 5 * LANES,), zero - minus - c)
    store(table, (place + 6 * LANES,), minus - c)
    store(table, (place + 7 * LANES,), zero - plus - c)


@inlined
def count_correct(plan, sums, slot, first_row, tile, e, best):
    """Examples of a block whose own logit is the largest."""
    lowest = item(plan.labels, (tile, e // LANES, 0))
    highest = item(plan.labels, (tile, e // LANES, 1))
    own = load(sums, (slot, first_row + 2 * lowest, e))
    if lowest < highest:
        label = load(plan.label, (tile, e))
        for k in range(lowest + 1, highest + 1):
            own = where_equal(label, splat(sums, k), load(sums, (slot, first_row + 2 * k, e)), own)
    return count_at_least(own, best)
