"""Incremental exact evaluation: what a few flipped weights change, and nothing else.

A move flips m weights. One flipped weight of a linear layer changes one pre-activation, by twice
an input of that layer; one flipped weight of a convolution recomputes one channel. What follows
downstream is updated by differences. All sums are exact integers, sized by the network's proven
bound. With weights of +-1, three changes of inputs have only eight signed sums: they are tabulated
once, and every unit then takes one addition instead of three.

A move is made in one of two ways.

- *Directly*, if it flips few weights, none of a convolution, and there is one hidden layer at most:
  nearly every move. Hidden sums and logits are updated in place, one block of examples after the
  other, and a rejected move is made once more, backwards.
- *Generally*, in any other case. Hidden values have two *sides*: a candidate is written beside the
  current value, and accepting the move toggles a few bytes. The logits, all of which change in
  nearly every move, have one side and are updated in place.

The logits carry +1 where their class is lower than the label: a tie with a lower
class then loses, as the rule of the lowest class wants, and an example is correct exactly when its
own logit is the largest.
"""

import numpy as np

from volumetry.engines.layout import (
    CHUNK,
    GROUP,
    Move,
    borrow,
)
from volumetry.kernels.jit import borrowed, inlined, jit, part
from volumetry.kernels.philox import below, words
from volumetry.kernels.simd import (
    LANES,
    any_set,
    convert,
    count_at_least,
    is_above,
    item,
    load,
    maximum,
    prefetch,
    splat,
    store,
    where_equal,
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
def find_channels(plan, move):
    """Mark the channels that the flips of ``move`` change."""
    flips, channels = move.flips, move.channels
    stages = plan.stages
    n_stages = stages.shape[0]
    if move.first_stage[0] < n_stages:
        for c in range(channels.size):
            channels[c] = 0
    first_stage = n_stages
    for t in range(flips.size):
        if flips[t] >= plan.linears[0].first_weight:
            break
        s = n_stages - 1
        while flips[t] < stages[s].first_weight:
            s -= 1
        channel = (flips[t] - stages[s].first_weight) // (9 * stages[s].c_in)
        channels[stages[s].first_channel + channel] = 1
        first_stage = min(first_stage, s)
    move.first_stage[0] = first_stage
    for s in range(first_stage + 1, n_stages):
        for c in range(stages[s].c_out):
            channels[stages[s].first_channel + c] = 1


@inlined
def evaluate(plan, state, move, weights, scratch, least):
    """Evaluate a move whose flips are already in ``weights``.

    Afterwards exactly one of ``commit`` and ``revert`` has to follow.

    Args:
        least: the smallest number of correct examples of interest.

    Returns:
        Number of examples classified correctly, or -1 as soon as it cannot reach ``least``.
    """
    if not _is_direct(plan, move):
        return _evaluate_generally(plan, state, move, weights, scratch, least)
    _list_directly(plan, state, move, weights, scratch)
    scratch.done[0] = 0
    scratch.backwards[0] ^= 1
    left = plan.n.sum()
    correct = 0
    for tile in range(plan.x.shape[0]):
        left -= plan.n[tile]
        _add_last_flips(plan, state, move, scratch, tile, False)
        correct += _move_directly(plan, state, scratch, tile, least - correct - left)
        if correct + left < least:
            return -1
    return correct


@part
def _evaluate_generally(plan, state, move, weights, scratch, least):
    """``evaluate`` for any move of any network."""
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


@inlined
def commit(plan, state, move, scratch):
    """Make the candidate of the last ``evaluate``, with the same scratch, current."""
    channels, units, n_units = move.channels, scratch.units, scratch.n_units
    map_side, sum_side = state.map_side, state.sum_side
    if move.first_stage[0] < plan.stages.shape[0]:
        for c in range(channels.size):
            map_side[c] ^= channels[c]
    for layer in range(plan.linears.shape[0] - 1):
        for u in range(n_units[layer]):
            sum_side[units[layer, u]] ^= np.uint8(1)


@inlined
def revert(plan, state, move, scratch):
    """Take the last ``evaluate`` back, with the same scratch."""
    if not _is_direct(plan, move):
        _revert_generally(plan, state, move, scratch)
    else:
        blocks = plan.x.shape[2] // LANES
        for tile in range(plan.x.shape[0]):
            count = min(blocks, scratch.done[0] - tile * blocks)
            if count > 0:
                _move_back(plan, state, scratch, tile, count)
                _add_last_flips(plan, state, move, scratch, tile, True)
        scratch.backwards[0] ^= 1


@part
def _revert_generally(plan, state, move, scratch):
    """``revert`` for any move of any network."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    blocks = plan.x.shape[2] // LANES
    for tile in range(plan.x.shape[0]):
        count = min(blocks, scratch.done[0] - tile * blocks)
        if count > 0:
            _revert_logits(plan, state, move, scratch, tile, count)


@jit
def initialise(plan, state, move, weights, scratch):
    """Compute all values of a walker from its weights; returns the number correct.

    A full evaluation is a move of everything, away from nothing.
    """
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    state.map_side[:] = 0
    state.sum_side[:] = 0
    move.channels[:] = 1
    move.first_stage[0] = -1
    everything = Move(move.flips[:0], move.channels, move.first_stage)
    none = np.int64(0)  # not a literal, for which all would be compiled once more
    correct = _evaluate_generally(plan, state, everything, weights, scratch, none)
    commit(plan, state, everything, scratch)
    return correct


@inlined
def _is_direct(plan, move):
    """Whether the flips reach the logits through one hidden layer at most, by ``GROUP`` changes."""
    few = move.flips.size <= GROUP and plan.linears.shape[0] <= 2
    return few and move.first_stage[0] == plan.stages.shape[0]


@inlined
def _list_directly(plan, state, move, weights, scratch):
    """List what the flips of a direct move add, and the way each logit takes their changes."""
    linears, live, table, codes = plan.linears, state.live, scratch.flips, scratch.codes
    flips, sum_side = move.flips, state.sum_side
    n_stages, last = plan.stages.shape[0], linears.shape[0] - 1
    first, column = linears[last].first_weight, linears[last].first_group
    classes = linears[last].outputs
    scratch.n_units[0] = 0
    for t in range(flips.size):
        layer = last if flips[t] >= first else 0
        index, outputs = flips[t] - linears[layer].first_weight, linears[layer].outputs
        i = index // outputs
        unit = linears[layer].first_unit + index - i * outputs
        if layer > 0:
            source, effect, hidden = 2 * i + sum_side[i], True, i
        elif n_stages > 0:
            source = _map_row(plan.stages, state, move, n_stages - 1, i, 0)
            effect, hidden = live[source] > 0, unit
        else:
            source, effect, hidden = i, plan.live[i] > 0, unit
        table[t].layer = layer if effect else -1
        table[t].source = source
        table[t].base = table[t].target = 2 * unit + sum_side[unit]
        table[t].twice = 2 * weights[flips[t]]
        if last > 0:
            start = first + hidden * classes
            for k in range(classes):
                way = np.int64(weights[start + k] < 0) * (LANES << t)
                codes[k, column] = way if t == 0 else codes[k, column] + way


@inlined
def _add_last_flips(plan, state, move, scratch, tile, back):
    """Add the flips of the last layer to the logits: they take the inputs before the move."""
    last = plan.linears.shape[0] - 1
    for t in range(move.flips.size):
        if scratch.flips[t].layer == last:
            _add_flip(plan, state, scratch, t, last, tile, back)


@inlined
def _move_directly(plan, state, scratch, tile, least):
    """Move the hidden sums and the logits of a tile in place, and count as ``_update_logits`` does.

    Every other move goes through the blocks backwards: what the last one left in the cache is met
    before it is driven out.
    """
    sums, table, codes = state.sums, scratch.narrow, scratch.codes
    outputs, column = plan.linears[-1].outputs, plan.linears[-1].first_group
    slot, first_row = _slot(state, tile), 2 * plan.linears[-1].first_unit
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
        correct += _count_correct(plan, sums, slot, first_row, tile, e, best)
        scratch.done[0] += 1
        if correct + last - i < least:
            break
    return correct


@inlined
def _move_back(plan, state, scratch, tile, blocks):
    """Take what ``_move_directly`` did to its first blocks of a tile back, the last one first."""
    sums, table, codes = state.sums, scratch.narrow, scratch.codes
    outputs, column = plan.linears[-1].outputs, plan.linears[-1].first_group
    slot, first_row = _slot(state, tile), 2 * plan.linears[-1].first_unit
    size = blocks * LANES
    start, step = (plan.x.shape[2] - size, LANES) if scratch.backwards[0] else (size - LANES, -LANES)
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
    hidden = plan.linears.shape[0] > 1 and flips[t].layer == 0
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
    _store_signed_sums(table, 0, a, b, c)


@inlined
def _move_unit(plan, state, scratch, flip, tile, e):
    """Add twice an input to a hidden unit in a block; returns the change of its output."""
    sums, maps = state.sums, state.maps
    slot, zero = _slot(state, tile), splat(state.sums, 0)
    _, source, row, twice = flip
    if plan.stages.shape[0] > 0:
        value = load(maps, (slot, source, e))
        prefetch(maps, (slot + 1, source, e))
    else:
        value = load(plan.x, (tile, source, e))
    old = load(sums, (slot, row, e))
    prefetch(sums, (slot + 1, row, e))
    new = old + convert(value * splat(maps, twice), sums)
    store(sums, (slot, row, e), new)
    return convert(maximum(new, zero) - maximum(old, zero), scratch.narrow)


@inlined
def _list_changes(plan, state, move, weights, scratch):
    """List what changes in every linear layer: inputs, units, and what the flips add."""
    linears, live, table = plan.linears, state.live, scratch.flips
    sum_side, sources = state.sum_side, scratch.sources
    units, n_units, inputs = scratch.units, scratch.n_units, scratch.inputs
    n_stages, last = plan.stages.shape[0], linears.shape[0] - 1
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
            index = move.flips[t] - linears[layer].first_weight
            i = index // outputs
            unit = unit0 + index - i * outputs
            if layer > 0:
                effect, source = True, 2 * (before + i) + sum_side[before + i]
            elif n_stages > 0:
                source = _map_row(plan.stages, state, move, n_stages - 1, i, 0)
                effect = live[source] > 0
            else:
                effect, source = plan.live[i] > 0, i
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
    s = stages.shape[0] - 1
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
                    sources[0, count] = _map_row(stages, state, move, s, i, 0)
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


@inlined
def _map_row(stages, state, move, s, pixel, candidate):
    """Row of ``maps`` that holds an output of stage ``s``: current, or candidate if it has one."""
    mark = stages[s].first_channel + pixel // (stages[s].h_out * stages[s].w_out)
    side = state.map_side[mark] ^ (move.channels[mark] & candidate)
    return 2 * (stages[s].first_row + pixel) + side


@inlined
def _slot(state, tile):
    """Where a state keeps the values of a tile."""
    return tile if state.sums.shape[0] > 1 else 0


@part
def _add_changes(plan, state, move, scratch, layer, tile):
    """New sums of a hidden layer: old sums + weights . (changes of the inputs)."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    sums, sum_side = state.sums, state.sum_side
    slot, width = _slot(state, tile), plan.x.shape[2]
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
def _add_flip(plan, state, scratch, t, layer, tile, back):
    """Add 2 (new weight) (old input) to the sum of flip ``t``, or take it ``back``."""
    sums, maps, x = state.sums, state.maps, plan.x
    slot, width = _slot(state, tile), x.shape[2]
    flips = scratch.flips
    source, base, target = flips[t].source, flips[t].base, flips[t].target
    twice = -flips[t].twice if back else flips[t].twice
    stages = plan.stages.shape[0]
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
def _update_hidden(plan, state, move, weights, scratch, tile):
    """Write the candidates of all hidden values of a tile."""
    for s in range(max(move.first_stage[0], 0), plan.stages.shape[0]):
        _convolve(plan, state, move, weights, scratch, s, tile)
    for layer in range(plan.linears.shape[0] - 1):
        if scratch.n_inputs[layer] > 0:
            _add_changes(plan, state, move, scratch, layer, tile)
        for t in range(move.flips.size):
            if scratch.flips[t].layer == layer:
                _add_flip(plan, state, scratch, t, layer, tile, False)


@inlined
def _update_logits(plan, state, move, scratch, tile, least):
    """Add the changes of a tile to the logits, and count the examples that are right.

    An example is right where its own logit is the largest. The count stops short where it cannot
    reach ``least``; ``Scratch.done`` says after how many blocks.
    """
    last = plan.linears.shape[0] - 1
    _add_last_flips(plan, state, move, scratch, tile, False)
    n_inputs = scratch.n_inputs[last]
    if _many(move, last, n_inputs):
        scratch.done[0] += plan.x.shape[2] // LANES
        return _update_logits_by_many(plan, state, move, scratch, tile, False)
    sums = state.sums
    table, codes = scratch.table, scratch.codes
    outputs, column = plan.linears[last].outputs, plan.linears[last].first_group
    slot, width, first_row = _slot(state, tile), plan.x.shape[2], 2 * plan.linears[last].first_unit
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
        correct += _count_correct(plan, sums, slot, first_row, tile, e, best)
        left -= LANES
        scratch.done[0] += 1
        if correct + max(left, 0) < least:
            break
    return correct


@inlined
def _revert_logits(plan, state, move, scratch, tile, blocks):
    """Take what ``_update_logits`` did to the first blocks of a tile back."""
    sums, table, codes = state.sums, scratch.table, scratch.codes
    last = plan.linears.shape[0] - 1
    _add_last_flips(plan, state, move, scratch, tile, True)
    n_inputs = scratch.n_inputs[last]
    if _many(move, last, n_inputs):
        _update_logits_by_many(plan, state, move, scratch, tile, True)
    elif n_inputs > 0:
        outputs, column = plan.linears[last].outputs, plan.linears[last].first_group
        slot, first_row = _slot(state, tile), 2 * plan.linears[last].first_unit
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
    slot, width, last = _slot(state, tile), plan.x.shape[2], plan.linears.shape[0] - 1
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
        correct += _count_correct(plan, sums, slot, first_row, tile, e, best)
    return correct


@inlined
def _count_correct(plan, sums, slot, first_row, tile, e, best):
    """Examples of a block whose own logit is the largest."""
    lowest = item(plan.labels, (tile, e // LANES, 0))
    highest = item(plan.labels, (tile, e // LANES, 1))
    own = load(sums, (slot, first_row + 2 * lowest, e))
    if lowest < highest:
        label = load(plan.label, (tile, e))
        for k in range(lowest + 1, highest + 1):
            own = where_equal(label, splat(sums, k), load(sums, (slot, first_row + 2 * k, e)), own)
    return count_at_least(own, best)


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
            _store_signed_sums(scratch.table, g - start, a, b, c)
    else:
        for g in range(start, stop):
            i = GROUP * g
            a = _map_change(plan, state, fresh, item(sources, (layer, i)), tile, e)
            b = c = splat(state.maps, 0)
            if i + 1 < n_inputs:
                b = _map_change(plan, state, fresh, item(sources, (layer, i + 1)), tile, e)
            if i + 2 < n_inputs:
                c = _map_change(plan, state, fresh, item(sources, (layer, i + 2)), tile, e)
            _store_signed_sums(scratch.map_table, g - start, a, b, c)


@inlined
def _sum_change(state, fresh, source, tile, e):
    """Change of a hidden unit's output."""
    sums, slot = state.sums, _slot(state, tile)
    zero = splat(sums, 0)
    value = maximum(load(sums, (slot, source ^ 1, e)), zero)
    if not fresh:
        value = value - maximum(load(sums, (slot, source, e)), zero)
    return value


@inlined
def _map_change(plan, state, fresh, source, tile, e):
    """Change of an output of the last stage; without stages, an input as a change from nothing."""
    if plan.stages.shape[0] == 0:
        return load(plan.x, (tile, source, e))
    maps, slot = state.maps, _slot(state, tile)
    value = load(maps, (slot, source ^ 1, e))
    if not fresh:
        value = value - load(maps, (slot, source, e))
    return value


@inlined
def _store_signed_sums(table, group, a, b, c):
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


@part
def _convolve(plan, state, move, weights, scratch, s, tile):
    """Recompute the marked channels of stage ``s`` for a tile: convolution, pooling, ReLU."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    for channel in range(plan.stages[s].c_out):
        if move.channels[plan.stages[s].first_channel + channel]:
            if s == 0:
                _convolve_inputs(plan, state, weights, scratch, channel, tile)
            else:
                _convolve_maps(plan, state, move, weights, scratch, s, channel, tile)


@inlined
def _convolve_inputs(plan, state, weights, scratch, channel, tile):
    """A channel of the first stage.

    A window's sum is known; what the rarer sign of the kernel does to it takes few additions.
    """
    stages, x = plan.stages, plan.x
    maps, live, rows, taps = state.maps, state.live, scratch.rows, scratch.taps
    slot = _slot(state, tile)
    c_in, height, width = stages[0].c_in, stages[0].h_in, stages[0].w_in
    h_out, w_out = stages[0].h_out, stages[0].w_out
    block = 1 << stages[0].pools
    side = 1 - state.map_side[channel]
    first = channel * c_in * 9
    sign = 1 if weights[first : first + 9 * c_in].sum() > 0 else -1
    signs = splat(maps, sign)
    n_taps = 0
    for c in range(c_in):
        for tap in range(9):
            if weights[first + 9 * c + tap] != sign:
                dy, dx = tap // 3 - 1, tap % 3 - 1
                taps[n_taps].offset = (c * height + dy) * width + dx
                taps[n_taps].dy = dy
                taps[n_taps].dx = dx
                n_taps += 1
    span = -(-n_taps // 4) * 4
    first_sum = c_in * height * width
    for position in range(h_out * w_out):
        top, left = (position // w_out) * block, (position % w_out) * block
        # For each window that is pooled: the row of its sum, then those of the rarer sign.
        count = 0
        for offset in range(block * block):
            y, z = top + (offset >> stages[0].pools), left + (offset & (block - 1))
            rows[count] = first_sum + y * width + z
            for t in range(span):
                row = x.shape[1] - 1  # zeros, also beyond the edges
                if t < n_taps and 0 <= y + taps[t].dy < height and 0 <= z + taps[t].dx < width:
                    row = y * width + z + taps[t].offset
                rows[count + 1 + t] = row
            count += 1 + span
        out = 2 * (channel * h_out * w_out + position) + side
        seen = zero = splat(maps, 0)
        for e in range(0, maps.shape[2], LANES):
            most = zero  # ReLU and max-pooling commute
            for start in range(0, count, 1 + span):
                rare = zero
                for t in range(start + 1, start + span, 4):
                    a = load(x, (tile, item(rows, (t,)), e))
                    b = load(x, (tile, item(rows, (t + 1,)), e))
                    c = load(x, (tile, item(rows, (t + 2,)), e))
                    d = load(x, (tile, item(rows, (t + 3,)), e))
                    rare = rare + ((a + b) + (c + d))
                total = load(x, (tile, item(rows, (start,)), e)) - rare - rare
                most = maximum(most, signs * total)
            seen = seen | most
            store(maps, (slot, out, e), most)
        live[out] = any_set(seen) or (tile > 0 and live[out] > 0)


@inlined
def _convolve_maps(plan, state, move, weights, scratch, s, channel, tile):
    """A channel of a later stage."""
    stages, maps, live, rows = plan.stages, state.maps, state.live, scratch.rows
    slot, alive = _slot(state, tile), False
    c_in, height, width = stages[s].c_in, stages[s].h_in, stages[s].w_in
    h_out, w_out = stages[s].h_out, stages[s].w_out
    block = 1 << stages[s].pools
    side = 1 - state.map_side[stages[s].first_channel + channel]
    first = stages[s].first_weight + channel * c_in * 9
    for position in range(h_out * w_out):
        top, left = (position // w_out) * block, (position % w_out) * block
        out = 2 * (stages[s].first_row + channel * h_out * w_out + position) + side
        for offset in range(block * block):
            y, z = top + offset // block, left + offset % block
            # Rows to be added are listed from the front, those to be subtracted from the back.
            added, subtracted = 0, rows.size
            for c in range(c_in):
                for dy in range(max(0, 1 - y), min(3, height + 1 - y)):
                    for dx in range(max(0, 1 - z), min(3, width + 1 - z)):
                        pixel = (c * height + y + dy - 1) * width + z + dx - 1
                        row = _map_row(stages, state, move, s - 1, pixel, 1)
                        if weights[first + c * 9 + dy * 3 + dx] > 0:
                            rows[added] = row
                            added += 1
                        else:
                            subtracted -= 1
                            rows[subtracted] = row
            seen = splat(maps, 0)
            for e in range(0, maps.shape[2], LANES):
                total = splat(maps, 0)
                # ReLU and max-pooling commute: the maximum starts at zero.
                most = total if offset == 0 else load(maps, (slot, out, e))
                for t in range(added):
                    total = total + load(maps, (slot, item(rows, (t,)), e))
                for t in range(subtracted, rows.size):
                    total = total - load(maps, (slot, item(rows, (t,)), e))
                most = maximum(most, total)
                seen = seen | most
                store(maps, (slot, out, e), most)
            alive = any_set(seen)
        live[out] = alive or (tile > 0 and live[out] > 0)
