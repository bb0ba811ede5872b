"""Convolution stages: a flipped weight changes a whole channel, which is computed anew."""

from volumetry.engines.common import map_row, slot_of
from volumetry.engines.layout import borrow
from volumetry.kernels.jit import inlined, part
from volumetry.kernels.simd import LANES, any_set, item, load, maximum, splat, store


@part
def convolve(plan, state, move, weights, scratch, s, tile):
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
    slot = slot_of(state, tile)
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
    slot, alive = slot_of(state, tile), False
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
                        row = map_row(stages, state, move, s - 1, pixel, 1)
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
