"""Windows over the coordinate: where they are, and how walkers get into them."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from volumetry.chains.records import Walkers, Windows
from volumetry.methods.flat_histogram.setting import Bounds, Flat, States

_MOST_PUSHES = 100


class Entered(NamedTuple):
    """Walkers in their windows.

    Attributes:
        bounds: the windows.
        walkers: one of each set in each of them.
        top: (sets, n_weights): weights of the walkers in the highest window.
    """

    bounds: Bounds
    walkers: Walkers
    top: np.ndarray


def plan_windows(log_p: np.ndarray, window_cost: float) -> Bounds:
    """Overlapping windows that cover all that was seen, narrow where the density is steep.

    The cost of a step is 1 plus the change of ln p in nats. Windows have equal cost and share two
    thirds of it with the next, at least half of their bins.

    Args:
        log_p: (coordinates,): a first ln p, up to a constant; -inf where never seen.
        window_cost: wanted cost of a window.
    """
    seen = np.flatnonzero(np.isfinite(log_p))
    first, last = int(seen[0]), int(seen[-1])
    values = np.interp(np.arange(first, last + 1), seen, log_p[seen])
    cost = np.concatenate([[0.0], np.cumsum(1 + np.abs(np.diff(values)))])
    count = max(1, int(np.ceil(3 * cost[-1] / window_cost)) - 2)
    while count > 1:
        edges = first + np.rint(
            np.interp(np.linspace(0, cost[-1], count + 3), cost, np.arange(len(cost)))
        ).astype(int)
        windows = [(int(edges[w]), int(edges[w + 3])) for w in range(count)]
        if all(_overlap_half(a, b) for a, b in pairwise(windows)):
            return windows
        count -= 1
    return [(first, last)]


def _overlap_half(a: tuple[int, int], b: tuple[int, int]) -> bool:
    shared = a[1] - b[0] + 1
    bins = max(a[1] - a[0], b[1] - b[0]) + 1
    return a[0] < b[0] and a[1] < b[1] and 2 * shared >= bins


def enter(flat: Flat, bounds: Bounds, states: States, step: int) -> Entered:
    """Put a replica of every set into every window, from the nearest state met so far.

    Args:
        bounds: the windows wanted; if one of them cannot be entered, a single one over all of them
            takes their place.
        states: to start from.
        step: what random numbers go on from.
    """
    flat.check_memory(len(bounds))
    coordinate = flat.grid.coordinate
    met = coordinate[states.levels]
    nearest = np.empty((flat.sets, len(bounds)), int)
    for r in range(flat.sets):
        own = states.owner != r
        for w, (low, high) in enumerate(bounds):
            outside = np.maximum(low - met, met - high).clip(0)
            # What comes from above stays as it was there, for as long as it can.
            centre = np.abs(2 * met - low - high)
            far = np.where(states.from_above, 2 * (high - met), centre)
            nearest[r, w] = np.lexsort((far, own, outside))[0]
    walkers, top = flat.chains.place(states.weights[nearest], step), states.weights[nearest[:, -1]]
    # Push the few that are still outside: weights that fall steeply with the distance.
    low, high = np.array(bounds).T
    distance = np.maximum(low[:, None] - coordinate, coordinate - high[:, None]).clip(0)
    push = Windows.fixed(-10.0 * distance, np.zeros_like(low))
    for _ in range(_MOST_PUSHES):
        outside = distance[np.arange(len(low)), walkers.levels].any(axis=0)
        if not outside.any():
            return Entered(bounds, walkers, top)
        pushed = flat.chains.advance(walkers, push, 1, np.where(outside, flat.moves(1, 1), 0))
        walkers, top = pushed.walkers, pushed.top
    return enter(flat, [(int(low[0]), int(high[-1]))], states, walkers.next_step)
