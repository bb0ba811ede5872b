"""``volumetry.weights.flips`` for kernels on a GPU: the same flips."""

import triton
import triton.language as tl

from volumetry.kernels.philox_gpu import below, words


@triton.jit
def draw_kind(seed, stream, step, until, KINDS: tl.constexpr):
    """The same kind of move as ``flips.draw_kind``, of ``KINDS``: int32."""
    kind = tl.zeros((), tl.int32)
    if KINDS > 1:
        word, _, _, _ = words(seed, stream, step, 0)
        for k in tl.static_range(KINDS - 1):
            kind += (word.to(tl.int64) >= tl.load(until + k)).to(tl.int32)
    return kind


@triton.jit
def draw_flips(seed, stream, step, n_weights, FLIPS: tl.constexpr):
    """Distinct weights, as a tuple of int32 in the order drawn; and a spare 32-bit word.

    The same set as ``flips.draw_flips`` lists in ascending order.
    """
    w0, w1, w2, spare = words(seed, stream, step, 0)
    flips = ()
    for t in tl.static_range(FLIPS):
        if t > 0 and t % 3 == 0:
            w0, w1, w2, _ = words(seed, stream, step, t // 3)
        position = below(w0, n_weights - t)
        w0, w1 = w1, w2
        # Skip the weights already taken: those with no more than ``position`` free ones below.
        skipped = position * 0
        for s in tl.static_range(t):
            free = flips[s]
            for r in tl.static_range(t):
                free -= (flips[r] < flips[s]).to(tl.int32)
            skipped += (free <= position).to(tl.int32)
        flips = flips + (position + skipped,)
    return flips, spare


@triton.jit
def shift(flips, first, FLIPS: tl.constexpr):
    """Flips drawn among the first weights, as flips among those from ``first`` on."""
    shifted = ()
    for t in tl.static_range(FLIPS):
        shifted = shifted + (flips[t] + first,)
    return shifted


@triton.jit
def flip(weights, flips, FLIPS: tl.constexpr):
    """Flip the listed weights; its own inverse."""
    for t in tl.static_range(FLIPS):
        tl.store(weights + flips[t], -tl.load(weights + flips[t]))


@triton.jit
def gain(weights, flips, toward, FLIPS: tl.constexpr):
    """What the listed flips, which are not yet in ``weights``, will add to w . toward: int32."""
    total = tl.zeros((), tl.int32)
    for t in tl.static_range(FLIPS):
        weight = tl.load(weights + flips[t]).to(tl.int32)
        total -= weight * tl.load(toward + flips[t]).to(tl.int32)
    return 2 * total
