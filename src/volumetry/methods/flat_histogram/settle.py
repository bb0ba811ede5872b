"""Windows with settled walkers: between the first weights and production."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from volumetry.chains.records import Mixture, Walkers, Windows
from volumetry.estimate.criteria import EXCHANGE
from volumetry.estimate.reweighting import multi_histogram, statistical_inefficiency
from volumetry.methods.flat_histogram.explore import Ladder
from volumetry.methods.flat_histogram.learn import Learned
from volumetry.methods.flat_histogram.setting import ROUNDS_A_SWEEP, Bounds, Flat, States
from volumetry.methods.flat_histogram.windows import Entered, enter, plan_windows
from volumetry.methods.mixing import made_of
from volumetry.runtime.progress import Progress

_TRIALS, _MOST_TRIALS = 4, 16
_RUNG_SHARE = 0.02


@dataclass(frozen=True)
class Settled:
    """Windows in which walkers may produce.

    Attributes:
        bounds: the windows.
        walkers: where they stand.
        log_weight: (W, levels).
        moves: (W,): moves of a round.
        mixture: kinds of moves.
        exchange: (W - 1,): fraction of exchanges accepted with the next window in the last trial.
        learned: the learning that led here.
    """

    bounds: Bounds
    walkers: Walkers
    log_weight: np.ndarray
    moves: np.ndarray
    mixture: Mixture
    exchange: np.ndarray
    learned: Learned


def divide(
    flat: Flat,
    ladder: Ladder,
    states: States,
    first_weights: Callable[[Entered], Learned],
    *,
    window_cost: float,
    settle_sweeps: float,
) -> Settled:
    """Windows with walkers and settled weights, twice as large where they do not exchange.

    Args:
        states: to enter the windows from, once there are weights.
        first_weights: from walkers in their windows to weights to settle from.
        window_cost: of ``plan_windows``, to begin with.
        settle_sweeps: sweeps of each walker in the trials.
    """
    step = ladder.next_step
    while True:
        marginal = flat.marginal(ladder.log_p)
        # Weights that are being learned drive walkers out of any mode, and the weights suffer from
        # modes that walkers start in: so the states that matter come after.
        met = ladder.climbed + ladder.fallen
        first = enter(flat, plan_windows(marginal, window_cost), met, step)
        learned = first_weights(first)
        entered = enter(flat, first.bounds, states, learned.walkers.next_step)
        if entered.bounds != first.bounds:
            learned = first_weights(entered)
        else:
            learned = learned._replace(walkers=entered.walkers)
        settled = settle(flat, ladder, entered.bounds, learned, settle_sweeps)
        # Twice what the verdict asks, since production will see other fluctuations.
        if len(settled.bounds) == 1 or settled.exchange.min() >= 2 * EXCHANGE.limit:
            return settled
        window_cost *= 2
        step = settled.walkers.next_step


def settle(
    flat: Flat, ladder: Ladder, bounds: Bounds, learned: Learned, settle_sweeps: float
) -> Settled:
    """Fixed-weight trials, each twice as long as the one before, in which the walkers settle.

    After each, the weights are set to the multi-histogram estimate from all trials so far, windows
    where the coordinate is forgotten slowly get more of the moves, and kinds of moves the shares
    that their acceptances suggest. While a coordinate still traps the walkers, more trials of the
    last length follow.
    """
    coordinate, walkers, log_weight = flat.grid.coordinate, learned.walkers, learned.log_weight
    low = np.array([window[0] for window in bounds])
    # The annealed rungs only hold the pieces together: they were not in equilibrium.
    counts, log_weights = [_RUNG_SHARE * ladder.counts], [ladder.log_weight]
    counts[0][0] = ladder.counts[0]
    # One sample of each coordinate on top: what a short trial missed is not made ever likelier.
    marginal = flat.marginal(ladder.log_p)[coordinate].clip(-1e300)
    populated = flat.grid.inside(bounds) * np.exp(ladder.log_p - marginal)
    persistence, made = ladder.longest_persistence(bounds), ladder.made_in(bounds)
    parts = [2**trial for trial in range(_TRIALS)]
    progress = Progress(f"{flat.name}, trials", "trials")
    for done in range(_MOST_TRIALS):
        part = parts[min(done, _TRIALS - 1)]
        moves = flat.share(persistence)
        sweeps = settle_sweeps * part / sum(parts)
        rounds = max(4, int(sweeps * ROUNDS_A_SWEEP))
        windows = Windows.fixed(log_weight, low, flat.proposals.mix(made))
        found = flat.chains.advance(walkers, windows, rounds, moves)
        walkers, tally = found.walkers, found.tally
        made = made / 2 + made_of(tally)
        traces = coordinate[np.ascontiguousarray(tally.trace.swapaxes(0, 1))]  # (W, R, rounds)
        slow = np.array([statistical_inefficiency(trace) for trace in traces])
        persistence = slow * moves
        visits = tally.visits.sum(axis=0)
        share = visits / visits.sum(axis=1, keepdims=True)
        counts.append(share * (traces[0].size / slow)[:, None] + populated)
        log_weights.append(log_weight)
        log_p, _ = multi_histogram(np.concatenate(counts), np.concatenate(log_weights))
        log_weight = flat.window_weights(log_p, bounds)
        progress.update(min(done + 1, _TRIALS), _TRIALS)
        if done + 1 >= _TRIALS and not _trapped(flat, visits, bounds):
            break
    attempts, exchanges = (
        counted.sum(axis=0)[:-1] for counted in (tally.attempts, tally.exchanges)
    )
    exchange = exchanges / np.maximum(attempts, 1)
    moves, mixture = flat.share(persistence), flat.proposals.mix(made)
    return Settled(bounds, walkers, log_weight, moves, mixture, exchange, learned)


def _trapped(flat: Flat, visits: np.ndarray, bounds: Bounds) -> bool:
    """Whether one coordinate of a window drew far more than its share of the visits."""
    for count, (low, high) in zip(visits, bounds):
        largest = np.bincount(flat.grid.coordinate, count).max() / count.sum()
        if largest > max(0.5, 2 / (high - low + 1)):
            return True
    return False
