"""The production stage: frozen weights, from which every estimate comes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from volumetry.chains.records import NO_TESTS, Schedule, Tally, Windows
from volumetry.estimate.criteria import Criterion, complaints
from volumetry.estimate.production import Production, Uniform
from volumetry.methods.flat_histogram.setting import ROUNDS_A_SWEEP, Flat, States
from volumetry.methods.flat_histogram.settle import Settled
from volumetry.methods.mixing import made_of
from volumetry.runtime.progress import Progress

_WATCHED = 256
"""Weights of a layer whose renewal is watched."""


class Produced(NamedTuple):
    """A finished production.

    Attributes:
        production: the estimates.
        criteria: how it was judged.
        top: where the walkers of the highest window ended.
        made: (2, W, K): moves of each kind proposed, and accepted.
    """

    production: Production
    criteria: list[Criterion]
    top: States
    made: np.ndarray


def produce(
    flat: Flat,
    parameters,
    settled: Settled,
    judge: Callable[[Production], list[Criterion]],
    uniform: Uniform | None = None,
    tests: Schedule = NO_TESTS,
) -> Produced:
    """Make blocks until every criterion is met or the budget is spent.

    Twice in a row they have to be met: to stop at the first error bar that is small enough would
    select those that are too small.

    Args:
        parameters: with ``block_sweeps``, ``min_blocks`` and ``max_blocks``.
        judge: how a production meets its criteria, the most important first.
    """
    progress = Progress(f"{flat.name}, production stage", "blocks")
    walkers = settled.walkers
    low = np.array([low for low, _ in settled.bounds])
    windows = Windows.fixed(settled.log_weight, low, settled.mixture)
    rounds = max(2, int(parameters.block_sweeps * ROUNDS_A_SWEEP))
    blocks: list[Tally] = []
    watched = {
        name: first + np.unique(np.linspace(0, size - 1, min(size, _WATCHED)).astype(int))
        for name, first, size in flat.chains.system.segments
    }
    tops: dict[str, list[np.ndarray]] = {name: [] for name in watched}
    note, quiet = "", False
    while True:
        found = flat.chains.advance(walkers, windows, rounds, settled.moves, tests)
        walkers = found.walkers
        blocks.append(_compact(found.tally))
        for name, columns in watched.items():
            tops[name].append(found.top[:, columns])
        done = len(blocks)
        if done == parameters.max_blocks or (done >= parameters.min_blocks and done % 4 == 0):
            production = Production(
                windows.log_weight,
                blocks,
                flat.grid.coordinate,
                uniform,
                flat.chains.system.largest_score,
                {name: np.stack(each, axis=1) for name, each in tops.items()},
            )
            criteria = judge(production)
            said = complaints(criteria)
            if done == parameters.max_blocks or (quiet and not said):
                top = States.in_turn(found.top, walkers.levels[:, -1], flat.sets)
                return Produced(production, criteria, top, sum(map(made_of, blocks)))
            quiet = not said
            note = said[0] if said else "converged, to be confirmed"
        trips = sum(int(block.round_trips.sum()) for block in blocks)
        made = f"{trips:,} round trips in {done} blocks"
        progress.update(done, parameters.max_blocks, f"{made}; {note}" if note else made)


def _compact(tally: Tally) -> Tally:
    """A tally to be kept: a window visits few of all levels, and there may be hundreds of blocks.

    Its ``visits`` are sparse, (R * W, levels).
    """
    levels = tally.visits.shape[-1]
    return tally._replace(visits=csr_array(tally.visits.reshape(-1, levels)), changes=None)
