"""The learning stage: Wang-Landau in windows, from a warm start."""

from typing import NamedTuple

import numpy as np

from volumetry.chains.records import Walkers, Windows
from volumetry.methods.flat_histogram.explore import Ladder
from volumetry.methods.flat_histogram.setting import ROUNDS_A_SWEEP, Flat
from volumetry.methods.flat_histogram.windows import Entered
from volumetry.runtime.progress import Progress


class Learned(NamedTuple):
    """Window weights, and how they came about.

    Attributes:
        walkers: where they stand.
        log_weight: (W, levels): ln weights.
        ln_f: (steps, W): the modification factor after each step.
        flatness: (W,): the last least visits over mean visits.
    """

    walkers: Walkers
    log_weight: np.ndarray
    ln_f: np.ndarray
    flatness: np.ndarray


def learn(flat: Flat, parameters, ladder: Ladder, entered: Entered) -> Learned:
    """Wang-Landau from the warm start: sets update their own weights, then all take the mean.

    Updates are spaced so that the level has had a chance to change between them, and the first ln f
    is such that a window's weights change by about one nat while the level is being forgotten:
    larger steps only undo what the warm start knows.

    Args:
        parameters: with ``learning_sweeps``, ``flatness`` and ``halvings``.
    """
    bounds, walkers = entered.bounds, entered.walkers
    progress = Progress(f"{flat.name}, learning stage", "steps")
    low = np.array([window[0] for window in bounds])
    inside = flat.grid.inside(bounds)
    weight = flat.window_weights(ladder.log_p, bounds)
    populated = inside & np.isfinite(ladder.log_p)
    rate = np.array([np.nanmean(ladder.change_rate[a : b + 1]) for a, b in bounds])
    persistence = ladder.longest_persistence(bounds)
    interval = np.clip(np.rint(1 / np.maximum(rate, 1e-9)), 1, 1000).astype(np.int64)
    first = np.minimum(1.0, interval / persistence)
    ln_f = first.copy()
    updates = 1 / first  # of each bin, as if earlier ones had led to the warm start
    visits = np.zeros(inside.shape)
    flatness = np.zeros(len(low))
    rounds, moves = 2 * ROUNDS_A_SWEEP, flat.share(persistence)
    most = max(1, int(parameters.learning_sweeps / 2))
    mixture = flat.proposals.mix(ladder.made_in(bounds))
    history = []
    for done in range(1, most + 1):
        windows = Windows(weight, low, ln_f, interval, mixture)
        found = flat.chains.advance(walkers, windows, rounds, moves)
        walkers = found.walkers
        visits += found.tally.visits.sum(axis=0)
        populated |= visits > 0
        updates += rounds * moves / interval / populated.sum(axis=1)
        for w in range(len(low)):
            bins = inside[w]
            weight[w, bins] = np.mean(
                [own[w, bins] - own[w, bins].mean() for own in found.log_weight], axis=0
            )
            counted = visits[w, populated[w]]
            flatness[w] = counted.min() / counted.mean()
            if flatness[w] >= parameters.flatness and ln_f[w] > 1 / updates[w]:
                ln_f[w] /= 2
                visits[w] = 0
            if 0 < ln_f[w] < 1 / updates[w] or ln_f[w] < first[w] / 2:
                ln_f[w] = 1 / updates[w]
        history.append(ln_f.copy())
        note = f"largest ln f {ln_f.max():.2g}, least flatness {flatness.min():.2f}"
        progress.update(done, most, note)
        if (ln_f <= first / 2**parameters.halvings).all():
            break
    return Learned(walkers, weight, np.array(history), flatness)
