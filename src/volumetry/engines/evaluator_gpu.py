"""``volumetry.engines.evaluator`` on a GPU: parts of Triton kernels.

One program evaluates one walker, a block of examples at a time. All values have two sides, as the
hidden ones of ``general`` have: a move writes its candidate beside what is current, and ``commit``
toggles bytes. There is nothing to revert: weights are flipped after ``commit``, and until then
``weight_of`` says what they would be. All sums are exact integers, of the same types.

What a program's threads write to memory and read again is separated by barriers: the layout of
threads over a block may differ from one access to the next.
"""

import triton
import triton.language as tl

from volumetry.engines.common_gpu import (
    CONVOLUTION,
    channel_changes,
    count_correct,
    first_layer,
    locate,
    unit_is_hit,
    units_hit,
    weight_of,
)
from volumetry.engines.convolution_gpu import convolve
from volumetry.engines.layout_gpu import last_layer, linear, n_stages, pixels_of, power_of_2, stage

LARGEST_FLIPS = 15
"""Most flips of a move: the code for each pair of them is written out."""

_UNITS = tl.constexpr(16)  # at a time


@triton.jit
def evaluate(
    examples, state, weights, flips, least, NET: tl.constexpr, M: tl.constexpr, BLOCK: tl.constexpr
):
    """Evaluate a move; the candidate's values go to the other sides.

    Args:
        state, weights: of one walker.
        flips: tuple of the M weights to flip.
        least: the smallest number of correct examples of interest.

    Returns:
        Number of examples classified correctly; some number below ``least`` if it is below that.
    """
    correct, left = 0, examples.n
    for start in range(0, examples.width, BLOCK):
        if correct + left >= least:
            e = start + tl.arange(0, BLOCK)
            correct += _evaluate_block(examples, state, weights, flips, e, NET, M, BLOCK)
            left -= BLOCK
    return correct


@triton.jit
def commit(state, flips, NET: tl.constexpr, M: tl.constexpr):
    """Make the candidate of the last ``evaluate`` current."""
    first = first_layer(flips, NET, M)
    if first == CONVOLUTION:
        for s in tl.static_range(n_stages(NET)):
            channel = tl.arange(0, power_of_2(stage(NET, s, "c_out")))
            changed = channel_changes(s, channel, flips, NET, M)
            changed &= channel < stage(NET, s, "c_out")
            _toggle(state.map_side + stage(NET, s, "first_channel") + channel, changed)
    for layer in tl.static_range(last_layer(NET) + 1):
        if first <= layer:
            unit = tl.arange(0, power_of_2(linear(NET, layer, "outputs")))
            changed = (first < layer) | unit_is_hit(layer, unit, flips, NET, M)
            changed &= unit < linear(NET, layer, "outputs")
            _toggle(state.sum_side + linear(NET, layer, "first_unit") + unit, changed)


@triton.jit
def _toggle(side, changed):
    tl.store(side, tl.load(side, changed, 0) ^ 1, changed)


@triton.jit
def initialise_block(examples, state, weights, e, NET: tl.constexpr, BLOCK: tl.constexpr):
    """Compute all values of a block of examples from the weights; returns the number correct.

    They go to side 0, which has to be current everywhere.

    Args:
        state, weights: of one walker.
        e: the examples, (BLOCK).
    """
    inside = e < examples.width
    for s in tl.static_range(n_stages(NET)):
        for channel in range(stage(NET, s, "c_out")):
            convolve(s, channel, 0, examples, state, weights, (), e, inside, NET, 0, BLOCK)
        tl.debug_barrier()
    correct = 0
    for layer in tl.static_range(last_layer(NET) + 1):
        correct = _initialise_layer(layer, examples, state, weights, e, inside, NET, BLOCK)
        tl.debug_barrier()
    return correct


@triton.jit
def _initialise_layer(
    layer: tl.constexpr,
    examples,
    state,
    weights,
    e,
    inside,
    NET: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sums of a linear layer; returns the number correct if it is the last."""
    LAST: tl.constexpr = layer == last_layer(NET)
    OUT: tl.constexpr = linear(NET, layer, "outputs")
    TILE: tl.constexpr = power_of_2(OUT) if LAST else _UNITS
    label = tl.load(examples.label + e, inside, -1)
    correct = 0
    for first in range(0, OUT, TILE):
        unit = first + tl.arange(0, TILE)
        total = tl.zeros((TILE, BLOCK), state.sums.dtype.element_ty)
        if LAST:  # a tie with a lower class then loses
            total += (unit[:, None] < label[None, :]).to(total.dtype)
        for i in range(linear(NET, layer, "inputs")):
            row = _input(layer, i, 0, examples, state, e, inside, NET)
            total = _add(total, layer, i, row, unit, weights, (), NET, 0)
        pointer = _rows(layer, unit, 0, unit < OUT, state, NET)
        tl.store(pointer[:, None] + e[None, :], total, (unit < OUT)[:, None] & inside[None, :])
        if LAST:
            correct += count_correct(total, unit, label, OUT)
    return correct


@triton.jit
def _evaluate_block(
    examples, state, weights, flips, e, NET: tl.constexpr, M: tl.constexpr, BLOCK: tl.constexpr
):
    inside = e < examples.width
    first = first_layer(flips, NET, M)
    if first == CONVOLUTION:
        for s in tl.static_range(n_stages(NET)):
            for channel in range(stage(NET, s, "c_out")):
                if channel_changes(s, channel, flips, NET, M):
                    convolve(
                        s, channel, 1, examples, state, weights, flips, e, inside, NET, M, BLOCK
                    )
            tl.debug_barrier()
    for layer in tl.static_range(last_layer(NET)):
        if first == layer:
            # A unit that is hit twice is computed twice, and stored alike.
            unit, here = units_hit(layer, flips, NET, M)
            _update(layer, first, unit, here, examples, state, weights, flips, e, inside, NET, M)
            tl.debug_barrier()
        elif first < layer:
            for tile in range(0, linear(NET, layer, "outputs"), _UNITS):
                unit = tile + tl.arange(0, _UNITS)
                here = unit < linear(NET, layer, "outputs")
                _update(
                    layer, first, unit, here, examples, state, weights, flips, e, inside, NET, M
                )
            tl.debug_barrier()
    LAST: tl.constexpr = last_layer(NET)
    CLASSES: tl.constexpr = linear(NET, LAST, "outputs")
    unit = tl.arange(0, power_of_2(CLASSES))
    here = unit < CLASSES
    total = _update(LAST, first, unit, here, examples, state, weights, flips, e, inside, NET, M)
    return count_correct(total, unit, tl.load(examples.label + e, inside, -1), CLASSES)


@triton.jit
def _input(layer: tl.constexpr, i, other, examples, state, e, inside, NET: tl.constexpr):
    """Input ``i`` of a linear layer: current, or of the other side; (BLOCK)."""
    if layer > 0:
        unit = linear(NET, layer - 1, "first_unit") + i
        row = 2 * unit + (tl.load(state.sum_side + unit).to(tl.int32) ^ other)
        pointer = state.sums + row.to(tl.int64) * state.width
        value = tl.maximum(tl.load(pointer + e, inside, 0), 0)
    elif n_stages(NET) > 0:
        PIXELS: tl.constexpr = pixels_of(NET, -1)
        side = tl.load(state.map_side + stage(NET, -1, "first_channel") + i // PIXELS).to(tl.int32)
        row = 2 * (stage(NET, -1, "first_row") + i) + (side ^ other)
        pointer = state.maps + row.to(tl.int64) * state.width
        value = tl.load(pointer + e, inside, 0)
    else:
        row = i + tl.zeros((), tl.int64)
        value = tl.load(examples.x + row * examples.width + e, inside, 0)
    return value.to(state.sums.dtype.element_ty)


@triton.jit
def _change(layer: tl.constexpr, i, examples, state, e, inside, NET: tl.constexpr):
    """What input ``i`` of a linear layer changes by."""
    new = _input(layer, i, 1, examples, state, e, inside, NET)
    return new - _input(layer, i, 0, examples, state, e, inside, NET)


@triton.jit
def _add(
    total, layer: tl.constexpr, i, row, unit, weights, flips, NET: tl.constexpr, M: tl.constexpr
):
    """Add weight times ``row``, of input ``i``, to the sums of units."""
    index = linear(NET, layer, "first_weight") + i * linear(NET, layer, "outputs") + unit
    weight = weight_of(weights, index, unit < linear(NET, layer, "outputs"), flips, M).to(
        total.dtype
    )
    return total + weight[:, None] * row[None, :]


@triton.jit
def _rows(layer: tl.constexpr, unit, other, here, state, NET: tl.constexpr):
    """Pointers to the rows of units, current or on the other side."""
    unit += linear(NET, layer, "first_unit")
    row = 2 * unit + (tl.load(state.sum_side + unit, here, 0).to(tl.int32) ^ other)
    return state.sums + row.to(tl.int64) * state.width


@triton.jit
def _update(
    layer: tl.constexpr,
    first,
    unit,
    here,
    examples,
    state,
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
    pointer = _rows(layer, unit, 0, here, state, NET)
    total = tl.load(pointer[:, None] + e[None, :], here[:, None] & inside[None, :], 0)
    if layer > 0:
        if first == layer - 1:  # only inputs whose own weights are flipped change
            for t in tl.static_range(M):
                hits, _, i = locate(layer - 1, flips[t], NET)
                for s in tl.static_range(t):  # each once
                    also, _, j = locate(layer - 1, flips[s], NET)
                    hits &= ~(also & (i == j))
                row = _change(layer, i, examples, state, e, inside & hits, NET)
                total = _add(total, layer, i, row, unit, weights, flips, NET, M)
        elif first < layer - 1:
            for i in range(linear(NET, layer, "inputs")):
                row = _change(layer, i, examples, state, e, inside, NET)
                total = _add(total, layer, i, row, unit, weights, flips, NET, M)
    elif n_stages(NET) > 0:
        if first == CONVOLUTION:
            PIXELS: tl.constexpr = pixels_of(NET, -1)
            for channel in range(stage(NET, -1, "c_out")):
                if channel_changes(n_stages(NET) - 1, channel, flips, NET, M):
                    for i in range(channel * PIXELS, channel * PIXELS + PIXELS):
                        row = _change(layer, i, examples, state, e, inside, NET)
                        total = _add(total, layer, i, row, unit, weights, flips, NET, M)
    for t in tl.static_range(M):
        hits, i, u = locate(layer, flips[t], NET)
        row = _input(layer, i, 0, examples, state, e, inside & hits, NET)
        twice = -2 * tl.load(weights + flips[t]).to(tl.int32)
        total += tl.where(hits & (unit == u), twice, 0).to(total.dtype)[:, None] * row[None, :]
    here &= (first < layer) | unit_is_hit(layer, unit, flips, NET, M)
    pointer = _rows(layer, unit, 1, here, state, NET)
    tl.store(pointer[:, None] + e[None, :], total, here[:, None] & inside[None, :])
    return total
