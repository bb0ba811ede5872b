"""Moves of binary weights: a few flips, drawn without replacement; for kernels on the CPU."""

import numpy as np

from volumetry.kernels.jit import inlined, part
from volumetry.kernels.philox import below, words


@inlined
def draw_kind(seed, stream, step, until):
    """A kind of move, from ``Mixture.until`` of a window; a single one costs no random number."""
    kind = 0
    if until.size > 1:
        word = np.int64(words(seed, stream, step, 0)[0])
        while word >= until[kind]:
            kind += 1
    return kind


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
def shift(flips, first):
    """Let flips drawn among the first weights be among those from ``first`` on."""
    for t in range(flips.size):
        flips[t] += first


@inlined
def flip(weights, flips):
    """Flip the listed weights; its own inverse."""
    for t in range(flips.size):
        weights[flips[t]] = -weights[flips[t]]


@part
def gain(weights, flips, toward):
    """What the listed flips, which are already in ``weights``, have added to w . toward.

    Behind a call: merged into the loop over moves, it slows those that nothing pulls.
    """
    total = 0
    for t in range(flips.size):
        total += weights[flips[t]] * toward[flips[t]]
    return 2 * total
