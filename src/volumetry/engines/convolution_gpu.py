"""``volumetry.engines.convolution`` on a GPU."""

import triton
import triton.language as tl

from volumetry.engines.common_gpu import channel_changes, weight_of
from volumetry.engines.layout_gpu import pixels_of, stage

_POSITIONS = tl.constexpr(8)  # pixels at a time


@triton.jit
def convolve(
    s: tl.constexpr,
    channel,
    other: tl.constexpr,
    examples,
    state,
    weights,
    flips,
    e,
    inside,
    NET: tl.constexpr,
    M: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Recompute a channel of stage ``s`` for a block: convolution, pooling, ReLU."""
    C_IN: tl.constexpr = stage(NET, s, "c_in")
    HEIGHT: tl.constexpr = stage(NET, s, "h_in")
    WIDTH: tl.constexpr = stage(NET, s, "w_in")
    SIDE: tl.constexpr = 1 << stage(NET, s, "pools")
    PIXELS: tl.constexpr = pixels_of(NET, s)
    narrow: tl.constexpr = state.maps.dtype.element_ty
    wide: tl.constexpr = tl.int32 if narrow == tl.int16 else narrow
    mark = stage(NET, s, "first_channel") + channel
    side = tl.load(state.map_side + mark).to(tl.int32) ^ other
    for first in range(0, PIXELS, _POSITIONS):
        position = first + tl.arange(0, _POSITIONS)
        # ReLU and max-pooling commute: the maximum starts at zero.
        most = tl.zeros((_POSITIONS, BLOCK), wide)
        for offset in range(SIDE * SIDE):
            y = position // stage(NET, s, "w_out") * SIDE + offset // SIDE
            x = position % stage(NET, s, "w_out") * SIDE + offset % SIDE
            total = tl.zeros((_POSITIONS, BLOCK), wide)
            for c in range(C_IN):
                source = examples.x
                width = examples.width
                pixel, step, changed = c * (HEIGHT * WIDTH), 1, 0
                if s > 0:
                    source = state.maps
                    width = state.width
                    changed = tl.load(state.map_side + stage(NET, s - 1, "first_channel") + c).to(
                        tl.int32
                    )
                    if other:
                        changed ^= channel_changes(s - 1, c, flips, NET, M).to(tl.int32)
                    pixel, step = stage(NET, s - 1, "first_row") + pixel, 2
                for tap in tl.static_range(9):
                    v = y + (tap // 3 - 1)
                    h = x + (tap % 3 - 1)
                    there = (v >= 0) & (v < HEIGHT) & (h >= 0) & (h < WIDTH) & (position < PIXELS)
                    row = step * (pixel + v * WIDTH + h) + changed
                    pointer = source + row.to(tl.int64) * width
                    pixels = tl.load(
                        pointer[:, None] + e[None, :], there[:, None] & inside[None, :], 0
                    )
                    index = stage(NET, s, "first_weight") + (channel * C_IN + c) * 9 + tap
                    weight = weight_of(weights, index, True, flips, M).to(wide)
                    total += weight * pixels.to(wide)
            most = tl.maximum(most, total)
        row = 2 * (stage(NET, s, "first_row") + channel * PIXELS + position) + side
        pointer = state.maps + row.to(tl.int64) * state.width
        here = (position < PIXELS)[:, None] & inside[None, :]
        tl.store(pointer[:, None] + e[None, :], most.to(narrow), here)
