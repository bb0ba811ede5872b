"""Any move of any network.

Hidden values have two *sides*: a candidate is written beside the current value, and accepting the
move toggles a few bytes. The logits, all of which change in nearly every move, have one side, where
they are updated. Changes of inputs are added in groups of three, whose eight signed sums are
tabulated once for all units.
"""

import numpy as np

from volumetry.engines.common import (
    add_flip,
    add_last_flips,
    count_correct,
    locate,
    map_row,
    slot_of,
    source_of,
    store_signed_sums,
)
from volumetry.engines.convolution import convolve
from volumetry.engines.layout import CHUNK, GROUP, borrow
from volumetry.kernels.jit import borrowed, inlined, part
from volumetry.kernels.simd import LANES, convert, is_above, item, load, maximum, splat, store


@part
def evaluate(plan, state, move, weights, scratch, least):
    """``evaluator.evaluate``; behind a call, since it is rare."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    weights = borrowed(weights)
    _list_changes(plan, state, move, weights, scratch)
    scratch.done[0] = 0
    left = plan.n.sum()
    correct = 0
    for tile in range(plan.x.shape[0]):
        left -= plan.n[tile]
        _update_hidden(plan, state, move, weights, scratch, tile)
        correct += _update_logits(plan, state, move, scratch, tile, least - correct - left)
        if correct + left < least:
            return -1
    return correct


@part
def revert(plan, state, move, scratch):
    """Take the last ``evaluate`` back."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    blocks = plan.x.shape[2] // LANES
    for tile in range(plan.x.shape[0]):
        count = min(blocks, scratch.done[0] - tile * blocks)
        if count > 0:
            _revert_logits(plan, state, move, scratch, tile, count)


@inlined
def _list_changes(plan, state, move, weights, scratch):
    """List what changes in every linear layer: inputs, units, and what the flips add."""
    linears, table = plan.linears, scratch.flips
    sum_side, sources = state.sum_side, scratch.sources
    units, n_units, inputs = scratch.units, scratch.n_units, scratch.inputs
    last = linears.size - 1
    for t in range(table.shape[0]):
        table[t].layer = -1
    t = 0
    while t < move.flips.size and move.flips[t] < linears[0].first_weight:
        t += 1
    for layer in range(last + 1):
        outputs, unit0 = linears[layer].outputs, linears[layer].first_unit
        before = linears[layer - 1].first_unit
        if layer == 0:
            count = _list_map_changes(plan, state, move, scratch)
        else:
            count = n_units[layer - 1]
            for u in range(count):
                unit = units[layer - 1, u]
                inputs[u] = unit - before
                sources[layer, u] = 2 * unit + sum_side[unit]
        scratch.n_inputs[layer] = count
        n_changed = 0
        if count > 0:
            _set_codes(plan, weights, scratch, layer, count)
            n_changed = outputs
            for k in range(outputs):
                units[layer, k] = unit0 + k
        end = linears[layer].first_weight + linears[layer].inputs * outputs
        while t < move.flips.size and move.flips[t] < end:
            i, unit = locate(linears, layer, move.flips[t])
            source, effect = source_of(plan, state, move, layer, i)
            if effect:
                base = target = 2 * unit
                if layer < last:
                    base = target = target + (sum_side[unit] ^ 1)
                    new = count == 0
                    for u in range(n_changed):
                        new = new and units[layer, u] != unit
                    if new:
                        base ^= 1
                        units[layer, n_changed] = unit
                        n_changed += 1
                table[t].layer = layer
                table[t].source = source
                table[t].base = base
                table[t].target = target
                table[t].twice = 2 * weights[move.flips[t]]
            t += 1
        n_units[layer] = n_changed


@inlined
def _list_map_changes(plan, state, move, scratch):
    """List the inputs of the first linear layer that change; returns how many."""
    stages, channels = plan.stages, move.channels
    inputs, sources = scratch.inputs, scratch.sources
    s = stages.size - 1
    count = 0
    if s < 0 and move.first_stage[0] < 0:
        count = plan.linears[0].inputs
        for i in range(count):
            inputs[i] = sources[0, i] = i
    elif move.first_stage[0] <= s:
        pixels = stages[s].h_out * stages[s].w_out
        for c in range(stages[s].c_out):
            if channels[stages[s].first_channel + c]:
                for i in range(c * pixels, (c + 1) * pixels):
                    inputs[count] = i
                    sources[0, count] = map_row(stages, state, move, s, i, 0)
                    count += 1
    return count


@inlined
def _set_codes(plan, weights, scratch, layer, count):
    """Where each unit finds the signed sum of each group of changing inputs."""
    codes, inputs = scratch.codes, scratch.inputs
    outputs, first = plan.linears[layer].outputs, plan.linears[layer].first_weight
    column = plan.linears[layer].first_group
    place = 0
    for g in range(0, count, GROUP):
        # A group that is not full has changes of zero there, with any sign.
        a = first + inputs[g] * outputs
        b = first + inputs[min(g + 1, count - 1)] * outputs
        c = first + inputs[min(g + 2, count - 1)] * outputs
        for k in range(outputs):
            sign = np.int64(weights[a + k] < 0) | np.int64(weights[b + k] < 0) << 1
            sign |= np.int64(weights[c + k] < 0) << 2
            codes[k, column] = place + LANES * sign
        column += 1
        place = place + 8 * LANES if place < (CHUNK - 1) * 8 * LANES else 0


@part
def _add_changes(plan, state, move, scratch, layer, tile):
    """New sums of a hidden layer: old sums + weights . (changes of the inputs)."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    sums, sum_side = state.sums, state.sum_side
    slot, width = slot_of(state, tile), plan.x.shape[2]
    fresh = move.first_stage[0] < 0
    outputs, unit0 = plan.linears[layer].outputs, plan.linears[layer].first_unit
    column, span = plan.linears[layer].first_group, _span(plan, state, move)
    groups = -(-scratch.n_inputs[layer] // GROUP)
    for start in range(0, groups, CHUNK):
        stop = min(start + CHUNK, groups)
        for e in range(0, width, LANES):
            _tabulate(plan, state, scratch, fresh, layer, tile, e, start, stop)
            for k in range(outputs):
                total = _signed_sum(scratch, sums, layer, k, column + start, column + stop, span)
                row = 2 * (unit0 + k) + (sum_side[unit0 + k] ^ 1)
                if start > 0:
                    total = total + load(sums, (slot, row, e))
                elif not fresh:
                    total = total + load(sums, (slot, row ^ 1, e))
                store(sums, (slot, row, e), total)


@inlined
def _span(plan, state, move):
    """Groups whose signed sums add up without overflow in the type of the maps."""
    bound = plan.move_bound
    if move.first_stage[0] >= 0:
        flips = 0
        while flips < move.flips.size and move.flips[flips] < plan.linears[0].first_weight:
            flips += 1
        bound = min(bound, flips * plan.flip_bound)
    return np.iinfo(state.maps.dtype).max // (GROUP * bound)


@inlined
def _update_hidden(plan, state, move, weights, scratch, tile):
    """Write the candidates of all hidden values of a tile."""
    for s in range(max(move.first_stage[0], 0), plan.stages.size):
        convolve(plan, state, move, weights, scratch, s, tile)
    for layer in range(plan.linears.size - 1):
        if scratch.n_inputs[layer] > 0:
            _add_changes(plan, state, move, scratch, layer, tile)
        for t in range(move.flips.size):
            if scratch.flips[t].layer == layer:
                add_flip(plan, state, scratch, t, layer, tile, False)


@inlined
def _update_logits(plan, state, move, scratch, tile, least):
    """Add the changes of a tile to the logits, and count the examples that are right.

    An example is right where its own logit is the largest. The count stops short where it cannot
    reach ``least``; ``Scratch.done`` says after how many blocks.
    """
    last = plan.linears.size - 1
    add_last_flips(plan, state, move, scratch, tile, False)
    n_inputs = scratch.n_inputs[last]
    if _many(move, last, n_inputs):
        scratch.done[0] += plan.x.shape[2] // LANES
        return _update_logits_by_many(plan, state, move, scratch, tile, False)
    sums = state.sums
    table, codes = scratch.table, scratch.codes
    outputs, column = plan.linears[last].outputs, plan.linears[last].first_group
    slot, width, first_row = (
        slot_of(state, tile),
        plan.x.shape[2],
        2 * plan.linears[last].first_unit,
    )
    lowest = splat(sums, np.iinfo(sums.dtype).min)
    left = plan.n[tile]
    correct = 0
    for e in range(0, width, LANES):
        if n_inputs > 0:
            _tabulate(plan, state, scratch, False, last, tile, e, 0, 1)
        best = lowest
        row = first_row
        for k in range(outputs):
            value = load(sums, (slot, row, e))
            if n_inputs > 0:
                value = value + load(table, (item(codes, (k, column)),))
                store(sums, (slot, row, e), value)
            best = maximum(best, value)
            row += 2
        correct += count_correct(plan, sums, slot, first_row, tile, e, best)
        left -= LANES
        scratch.done[0] += 1
        if correct + max(left, 0) < least:
            break
    return correct


@inlined
def _revert_logits(plan, state, move, scratch, tile, blocks):
    """Take what ``_update_logits`` did to the first blocks of a tile back."""
    sums, table, codes = state.sums, scratch.table, scratch.codes
    last = plan.linears.size - 1
    add_last_flips(plan, state, move, scratch, tile, True)
    n_inputs = scratch.n_inputs[last]
    if _many(move, last, n_inputs):
        _update_logits_by_many(plan, state, move, scratch, tile, True)
    elif n_inputs > 0:
        outputs, column = plan.linears[last].outputs, plan.linears[last].first_group
        slot, first_row = slot_of(state, tile), 2 * plan.linears[last].first_unit
        for e in range(0, blocks * LANES, LANES):
            _tabulate(plan, state, scratch, False, last, tile, e, 0, 1)
            row = first_row
            for k in range(outputs):
                value = load(sums, (slot, row, e)) - load(table, (item(codes, (k, column)),))
                store(sums, (slot, row, e), value)
                row += 2


@inlined
def _many(move, last, n_inputs):
    """Whether more changes reach the logits than one group of hidden units."""
    return move.first_stage[0] < 0 or n_inputs > (GROUP if last > 0 else 0)


@part
def _update_logits_by_many(plan, state, move, scratch, tile, back):
    """``_update_logits`` for any number of changed inputs, or from nothing; never stops short."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    sums, label = state.sums, plan.label
    slot, width, last = slot_of(state, tile), plan.x.shape[2], plan.linears.size - 1
    fresh = move.first_stage[0] < 0
    outputs, first_row = plan.linears[last].outputs, 2 * plan.linears[last].first_unit
    column, span = plan.linears[last].first_group, _span(plan, state, move)
    groups = -(-scratch.n_inputs[last] // GROUP)
    lowest = splat(sums, np.iinfo(sums.dtype).min)
    correct = 0
    for e in range(0, width, LANES):
        labels = load(label, (tile, e))
        best = lowest
        for start in range(0, groups, CHUNK):
            stop = min(start + CHUNK, groups)
            _tabulate(plan, state, scratch, fresh, last, tile, e, start, stop)
            best = lowest
            for k in range(outputs):
                total = _signed_sum(scratch, sums, last, k, column + start, column + stop, span)
                row = first_row + 2 * k
                if fresh and start == 0:
                    # Ties with a lower class are lost.
                    value = is_above(labels, splat(sums, k))
                else:
                    value = load(sums, (slot, row, e))
                value = value - total if back else value + total
                store(sums, (slot, row, e), value)
                best = maximum(best, value)
        correct += count_correct(plan, sums, slot, first_row, tile, e, best)
    return correct


@inlined
def _tabulate(plan, state, scratch, fresh, layer, tile, e, start, stop):
    """Tabulate the changes of a layer's inputs in a block, groups start..stop - 1."""
    sources, n_inputs = scratch.sources, scratch.n_inputs[layer]
    if layer > 0:
        for g in range(start, stop):
            i = GROUP * g
            a = _sum_change(state, fresh, item(sources, (layer, i)), tile, e)
            b = c = splat(state.sums, 0)
            if i + 1 < n_inputs:
                b = _sum_change(state, fresh, item(sources, (layer, i + 1)), tile, e)
            if i + 2 < n_inputs:
                c = _sum_change(state, fresh, item(sources, (layer, i + 2)), tile, e)
            store_signed_sums(scratch.table, g - start, a, b, c)
    else:
        for g in range(start, stop):
            i = GROUP * g
            a = _map_change(plan, state, fresh, item(sources, (layer, i)), tile, e)
            b = c = splat(state.maps, 0)
            if i + 1 < n_inputs:
                b = _map_change(plan, state, fresh, item(sources, (layer, i + 1)), tile, e)
            if i + 2 < n_inputs:
                c = _map_change(plan, state, fresh, item(sources, (layer, i + 2)), tile, e)
            store_signed_sums(scratch.map_table, g - start, a, b, c)


@inlined
def _sum_change(state, fresh, source, tile, e):
    """Change of a hidden unit's output."""
    sums, slot = state.sums, slot_of(state, tile)
    zero = splat(sums, 0)
    value = maximum(load(sums, (slot, source ^ 1, e)), zero)
    if not fresh:
        value = value - maximum(load(sums, (slot, source, e)), zero)
    return value


@inlined
def _map_change(plan, state, fresh, source, tile, e):
    """Change of an output of the last stage; without stages, an input as a change from nothing."""
    if plan.stages.size == 0:
        return load(plan.x, (tile, source, e))
    maps, slot = state.maps, slot_of(state, tile)
    value = load(maps, (slot, source ^ 1, e))
    if not fresh:
        value = value - load(maps, (slot, source, e))
    return value


@inlined
def _signed_sum(scratch, sums, layer, k, first, last, span):
    """Weights of unit ``k`` times the changes of groups (columns of ``codes``) first..last - 1."""
    codes = scratch.codes
    if layer > 0:
        return _add_up(scratch.table, codes, k, first, last)
    total = splat(sums, 0)
    while first < last:
        part = _add_up(scratch.map_table, codes, k, first, min(first + span, last))
        total = total + convert(part, sums)
        first += span
    return total


@inlined
def _add_up(table, codes, k, first, last):
    total = splat(table, 0)
    column = first
    while column + 4 <= last:
        a = load(table, (item(codes, (k, column)),)) + load(table, (item(codes, (k, column + 1)),))
        b = load(table, (item(codes, (k, column + 2)),))
        total = total + a + (b + load(table, (item(codes, (k, column + 3)),)))
        column += 4
    while column < last:
        total = total + load(table, (item(codes, (k, column)),))
        column += 1
    return total
