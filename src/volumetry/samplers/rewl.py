"""Replica-exchange Wang-Landau sampling of the number of correct training examples A.

Stages: uniform *bulk* draws; an *exploratory* canonical pass with weights exp(beta A) that finds a
first ln g(A) and states everywhere; Wang-Landau *learning* in overlapping windows (Wang & Landau
2001, doi:10.1103/PhysRevLett.86.2050; the 1/t rule of Belardinelli & Pereyra 2007,
doi:10.1103/PhysRevE.75.046701; replica exchange of Vogel et al. 2013,
doi:10.1103/PhysRevLett.110.210603); and *production* with frozen weights, from which every
estimate comes.

Several independent walker sets do all this side by side, each with one walker in every window;
replicas are exchanged only inside a set.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.special import chdtrc

from volumetry.networks.engine import make_plan
from volumetry.progress import Progress
from volumetry.reweighting import (
    jackknife_stderr,
    multi_histogram,
    split_r_hat,
    statistical_inefficiency,
)
from volumetry.samplers.chains import (
    Windows,
    draw_uniform,
    make_memory,
    make_tally,
    make_walkers,
    run_rounds,
    start,
)
from volumetry.samplers.problem import Problem, common_result


@dataclass(frozen=True)
class RewlParameters:
    """Parameters of the sampler; a *sweep* is n_weights / flips moves of one walker, at least 300.

    Attributes:
        flips: weights flipped by a move; odd, since an even number can never change the parity of
            the number of -1 weights.
        walkers: independent walkers in each window.
        bulk_draws: uniform draws.
        rung_sweeps: sweeps of each walker at each temperature of the exploratory pass.
        window_cost: size of a window in bins plus nats; smaller means more windows.
        flatness: least visits over mean visits of a window, before ln f is halved.
        learning_sweeps: most sweeps of each walker while learning.
        halvings: how often ln f is halved before learning ends.
        settle_sweeps: sweeps of each walker between learning and production.
        block_sweeps: sweeps of each walker in one block of production.
        min_blocks, max_blocks: fewest and most blocks of production.
        ln_v_error: wanted standard error of ln V, as a fraction of |ln V|; 0.05 nats suffice
            in any case.
        accuracy_error: wanted standard error of the interpolators' test accuracy.
    """

    flips: int = 3
    walkers: int = 4
    bulk_draws: int = 2000
    rung_sweeps: float = 20.0
    window_cost: float = 40.0
    flatness: float = 0.8
    learning_sweeps: float = 20.0
    halvings: int = 3
    settle_sweeps: float = 40.0
    block_sweeps: float = 10.0
    min_blocks: int = 12
    max_blocks: int = 400
    ln_v_error: float = 0.01
    accuracy_error: float = 0.01


PARAMETERS = {"rewl": RewlParameters}

_ENOUGH_NATS = 0.05
_LARGEST_BETA = 40.0
_LEAST_SWEEP = 300
_ROUNDS_A_SWEEP = 4
_GROUPS = 8
_TRIALS = 4
_RUNG_SHARE = 0.02
_LEAST_AGREEMENT = 1e-4
_LEAST_EXCHANGE = 0.05
_LEAST_SAMPLES = 40
_LARGEST_R_HAT = 1.1


def run(problem: Problem, parameters: RewlParameters, seed: int, *, threads: int = 1) -> xr.Dataset:
    """Density of states ln g(A), log-volume and accuracy of the typical interpolator.

    Args:
        seed: 64-bit seed; the result depends on it and on the problem and parameters alone.
        threads: walker sets that run at a time.

    Returns:
        The common scalars and, over ``A`` (0..n): ``log_g``, its error, visits, and the mean test
        accuracy at each A with its error; over ``window``: the windows and their diagnostics.
    """
    with ThreadPoolExecutor(threads) as pool:
        sampler = _Sampler(problem, parameters, seed, pool)
        bulk = sampler.draw_bulk()
        ladder = sampler.explore(bulk)
        bounds = sampler.enter(plan_windows(ladder.log_p, parameters.window_cost), ladder)
        learned = sampler.learn(bounds, ladder)
        moves = sampler.refine(bounds, learned, ladder)
        production = sampler.produce(bounds, learned, moves, bulk)
    return _result(problem, bounds, bulk, ladder, learned, production, sampler.moves)


@dataclass
class _Bulk:
    """Uniform draws: what they counted, by group, and the last weights of each set.

    Attributes:
        visits, tests, test_sum: int64 (groups, n + 1).
        weights: int8 (sets, n_weights).
    """

    visits: np.ndarray
    tests: np.ndarray
    test_sum: np.ndarray
    weights: np.ndarray


@dataclass
class _Ladder:
    """The exploratory pass.

    Attributes:
        log_p: (n + 1,): ln of the fraction of weight space at A; -inf where A was never seen.
        counts, log_weight: (1 + rungs, n + 1): effective samples and ln weights of the uniform
            draws and of every rung.
        change_rate: (n + 1,): fraction of moves that change A, at each A seen.
        memory: (n + 1,): moves until A is forgotten, at the A nearest to a rung's mean.
        snapshots: (states, n_weights): weights met on the way.
        correct: (states,): A of each snapshot.
        beta, mean_correct: (rungs,): the inverse temperatures and <A> there.
    """

    log_p: np.ndarray
    counts: np.ndarray
    log_weight: np.ndarray
    change_rate: np.ndarray
    memory: np.ndarray
    snapshots: np.ndarray
    correct: np.ndarray
    beta: np.ndarray
    mean_correct: np.ndarray

    def longest_memory(self, bounds: list[tuple[int, int]]) -> np.ndarray:
        """Moves until the most persistent A of each window is forgotten: (W,)."""
        return np.array([self.memory[low : high + 1].max() for low, high in bounds])


def plan_windows(log_p: np.ndarray, window_cost: float) -> list[tuple[int, int]]:
    """Overlapping windows that cover every A seen, narrow where ln g is steep.

    The cost of a step in A is 1 plus the change of ln g in nats. Windows have equal cost and share
    two thirds of it with the next, at least half of their bins.

    Args:
        log_p: (n + 1,): a first ln g(A), up to a constant; -inf where A was never seen.
        window_cost: wanted cost of a window.

    Returns:
        (lowest, highest) A of each window, inclusive, ascending.
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


class _Sampler:
    """The stages of one run; holds the walker sets and their memory."""

    def __init__(self, problem: Problem, parameters: RewlParameters, seed: int, pool):
        self.problem, self.network, self.seed, self.pool = problem, problem.network, seed, pool
        self.n, self.n_test = len(problem.y_train), len(problem.y_test)
        most = max(1, self.network.n_weights - 1)
        self.flips = min(parameters.flips, most - 1 + most % 2)
        self.parameters = parameters
        self.sweep = max(_LEAST_SWEEP, self.network.n_weights // self.flips)
        self.moves = 0
        plan = make_plan(self.network, problem.x_train, problem.y_train)
        test_plan = make_plan(self.network, problem.x_test, problem.y_test)
        self._make_memory = lambda replicas: [
            make_memory(self.network, plan, test_plan, replicas, self.flips)
            for _ in range(parameters.walkers)
        ]
        self.memory = self._make_memory(1)
        self.sets = [make_walkers(self.network, 1) for _ in range(parameters.walkers)]

    def _odd(self, sweeps: float, rounds: int) -> int:
        # Odd, so that states at the ends of rounds alternate in parity like those in between.
        return int(sweeps * self.sweep / rounds) | 1

    def _run(self, windows: list[Windows], rounds: int, moves, test_low: int, test_every: int):
        """Run every walker set; ``moves`` of a round are one number or one for each window."""
        moves = np.broadcast_to(moves, len(windows[0].low)).astype(np.int64)

        def one(r):
            tally = make_tally(len(windows[r].low), self.n, self.n_test, rounds)
            run_rounds(
                self.memory[r],
                self.sets[r],
                windows[r],
                tally,
                np.uint64(self.seed),
                r,
                moves,
                test_low,
                test_every,
            )
            return tally

        tallies = list(self.pool.map(one, range(len(self.sets))))
        self.moves += int(moves.sum()) * rounds * len(windows)
        return tallies

    def draw_bulk(self) -> _Bulk:
        """Plain uniform draws, shared among the groups."""
        groups = len(self.sets) * _GROUPS
        each = -(-self.parameters.bulk_draws // groups)
        visits, tests, test_sum = np.zeros((3, groups, self.n + 1), np.int64)

        def one(r):
            weights = np.empty((each, self.network.n_weights), np.int8)
            for group in range(r * _GROUPS, (r + 1) * _GROUPS):
                draw_uniform(
                    self.memory[r],
                    weights,
                    np.uint64(self.seed),
                    group * each,
                    visits[group],
                    tests[group],
                    test_sum[group],
                )
            return weights[-1]

        weights = np.array(list(self.pool.map(one, range(len(self.sets)))))
        return _Bulk(visits, tests, test_sum, weights)

    def explore(self, bulk: _Bulk) -> _Ladder:
        """Anneal every set from beta = 0 to both ends of A; join the rungs to a first ln g(A)."""
        progress = Progress("rewl, exploratory pass", "units of beta")
        levels = np.arange(self.n + 1)
        rungs = []  # (beta, visits of each set, trace of each set)
        changes = np.zeros(self.n + 1)
        visits = np.zeros(self.n + 1)
        snapshots, correct = [], []
        draws = np.repeat(levels, bulk.visits.sum(axis=0))
        for direction in (1.0, -1.0):
            for walkers, weights in zip(self.sets, bulk.weights):
                walkers.weights[0] = weights
            list(
                self.pool.map(lambda r: start(self.memory[r], self.sets[r]), range(len(self.sets)))
            )
            beta, spread = 0.0, draws.std()
            at_end = 0
            while abs(beta) < _LARGEST_BETA and at_end < 2:
                # Neighbouring rungs overlap when <A> moves by about one standard deviation.
                beta += direction * min(1.0, 1.0 / max(spread, 1e-9))
                window = _fixed(beta * levels[None, :], np.zeros(1, np.int64), np.full(1, self.n))
                moves = self._odd(self.parameters.rung_sweeps, 32)
                self._run([window] * len(self.sets), 8, moves, self.n + 1, 0)
                tallies = self._run([window] * len(self.sets), 24, moves, self.n + 1, 0)
                rung = sum(t.visits[0] for t in tallies)
                # A walker that never left its A says nothing about how that compares with others.
                moved = [t for t in tallies if t.changes.any()]
                telling = moved if rungs else tallies
                if telling:
                    traces = np.concatenate([t.trace for t in telling])
                    rungs.append((beta, sum(t.visits[0] for t in telling), traces))
                changes += sum(t.changes[0] for t in tallies)
                visits += rung
                snapshots += [w.weights[0].copy() for w in self.sets]
                correct += [int(w.correct[0]) for w in self.sets]
                mean = np.average(levels, weights=rung)
                spread = np.sqrt(np.average((levels - mean) ** 2, weights=rung))
                seen = np.flatnonzero(visits)
                end = seen[-1] if direction > 0 else seen[0]
                at_end = at_end + 1 if rung[end] > 0.5 * rung.sum() or not moved else 0
                progress.update(abs(beta), _LARGEST_BETA, f"beta {beta:.2f}, <A> {mean:.1f}")
        rungs.sort(key=lambda rung: rung[0])
        beta = np.array([0.0] + [b for b, _, _ in rungs])
        slowness = np.array([statistical_inefficiency(t) for _, _, t in rungs])
        counts = np.array(
            [bulk.visits.sum(axis=0)]
            + [c / c.sum() * t.size / slow for (_, c, t), slow in zip(rungs, slowness)]
        )
        log_weight = beta[:, None] * levels
        log_p, _ = multi_histogram(counts, log_weight)
        means = np.array([np.average(levels, weights=c) for _, c, _ in rungs])
        order = np.argsort(means)
        with np.errstate(invalid="ignore"):
            rate = changes / visits
        return _Ladder(
            log_p,
            counts,
            log_weight,
            rate,
            np.interp(levels, means[order], slowness[order] * moves),
            np.array(snapshots),
            np.array(correct),
            beta[1:],
            means,
        )

    def enter(self, windows: list[tuple[int, int]], ladder: _Ladder) -> list[tuple[int, int]]:
        """Put a replica of every set into every window, from the nearest state met so far.

        Returns:
            The windows; if one of them cannot be entered, a single one over all A seen.
        """
        steps = self.sets[0].step.max()
        self.memory = self._make_memory(len(windows))
        self.sets = [make_walkers(self.network, len(windows)) for _ in self.sets]
        for r, walkers in enumerate(self.sets):
            own = np.arange(len(ladder.correct)) % len(self.sets) != r
            for w, (low, high) in enumerate(windows):
                outside = np.maximum(low - ladder.correct, ladder.correct - high).clip(0)
                centre = np.abs(2 * ladder.correct - low - high)
                walkers.weights[w] = ladder.snapshots[np.lexsort((centre, own, outside))[0]]
            walkers.step[:] = steps  # beyond every random number used so far
        list(self.pool.map(lambda r: start(self.memory[r], self.sets[r]), range(len(self.sets))))
        # Push the few that are still outside: weights that fall steeply with the distance.
        levels = np.arange(self.n + 1)
        low, high = np.array(windows).T
        distance = np.maximum(low[:, None] - levels, levels - high[:, None]).clip(0)
        push = _fixed(-10.0 * distance, np.zeros_like(low), np.full_like(high, self.n))
        for _ in range(100):
            inside = [distance[range(len(low)), w.correct[w.replica]] == 0 for w in self.sets]
            if np.all(inside):
                return windows
            self._run([push] * len(self.sets), 1, self._odd(1, 1), self.n + 1, 0)
        return self.enter([(int(low[0]), int(high[-1]))], ladder)

    def learn(self, bounds: list[tuple[int, int]], ladder: _Ladder) -> "_Learned":
        """Wang-Landau from the warm start: sets update their own weights, then all take the mean.

        Updates are spaced so that A has had a chance to change between them, and the first ln f is
        such that a window's weights change by about one nat while A is being forgotten: larger
        steps only undo what the warm start knows.
        """
        p = self.parameters
        progress = Progress("rewl, learning stage", "steps")
        low, high = np.array(bounds).T
        inside = self._inside(low, high)
        weight = _window_weights(ladder.log_p, inside)
        populated = inside & np.isfinite(ladder.log_p)
        rate = np.array([np.nanmean(ladder.change_rate[a : b + 1]) for a, b in bounds])
        memory = ladder.longest_memory(bounds)
        interval = np.clip(np.rint(1 / np.maximum(rate, 1e-9)), 1, 1000).astype(np.int64)
        first = np.minimum(1.0, interval / memory)
        ln_f = first.copy()
        updates = 1 / first  # of each bin, as if earlier ones had led to the warm start
        visits = np.zeros(inside.shape)
        flatness = np.zeros(len(low))
        rounds, moves = 2 * _ROUNDS_A_SWEEP, self._share(memory)
        most = max(1, int(p.learning_sweeps / 2))
        history = []
        for done in range(1, most + 1):
            own = [Windows(weight.copy(), low, high, ln_f, interval) for _ in self.sets]
            tallies = self._run(own, rounds, moves, self.n + 1, 0)
            visits += sum(t.visits for t in tallies)
            populated |= visits > 0
            updates += rounds * moves / interval / populated.sum(axis=1)
            for w in range(len(low)):
                bins = inside[w]
                weight[w, bins] = np.mean(
                    [o.log_weight[w, bins] - o.log_weight[w, bins].mean() for o in own], axis=0
                )
                counted = visits[w, populated[w]]
                flatness[w] = counted.min() / counted.mean()
                if flatness[w] >= p.flatness and ln_f[w] > 1 / updates[w]:
                    ln_f[w] /= 2
                    visits[w] = 0
                if 0 < ln_f[w] < 1 / updates[w] or ln_f[w] < first[w] / 2:
                    ln_f[w] = 1 / updates[w]
            history.append(ln_f.copy())
            progress.update(done, most, f"least flatness {flatness.min():.2f}")
            if (ln_f <= first / 2**p.halvings).all():
                break
        return _Learned(weight, np.array(history), flatness)

    def refine(self, bounds, learned: "_Learned", ladder: _Ladder) -> np.ndarray:
        """Fixed-weight trials, each twice as long as the one before, in which the walkers settle.

        After each, the weights are set to the multi-histogram estimate from all trials so far, and
        windows where A is forgotten slowly get more of the moves.

        Returns:
            Moves of a round in each window.
        """
        low, high = np.array(bounds).T
        inside = self._inside(low, high)
        # The annealed rungs only hold the pieces together: they were not in equilibrium.
        counts, log_weight = [_RUNG_SHARE * ladder.counts], [ladder.log_weight]
        counts[0][0] = ladder.counts[0]
        populated = inside & np.isfinite(ladder.log_p)
        memory = ladder.longest_memory(bounds)
        parts = 2 ** np.arange(_TRIALS)
        progress = Progress("rewl, trials", "trials")
        for done, part in enumerate(parts):
            moves = self._share(memory)
            windows = _fixed(learned.log_weight, low, high)
            sweeps = self.parameters.settle_sweeps * part / parts.sum()
            rounds = max(4, int(sweeps * _ROUNDS_A_SWEEP))
            tallies = self._run([windows] * len(self.sets), rounds, moves, self.n + 1, 0)
            traces = np.stack([t.trace for t in tallies], axis=1)
            slow = np.array([statistical_inefficiency(trace) for trace in traces])
            memory = slow * moves
            visits = sum(t.visits for t in tallies)
            share = visits / visits.sum(axis=1, keepdims=True)
            # One sample of each A on top: what a short trial missed is not made ever likelier.
            counts.append(share * (traces[0].size / slow)[:, None] + populated)
            log_weight.append(windows.log_weight)
            log_p, _ = multi_histogram(np.concatenate(counts), np.concatenate(log_weight))
            learned.log_weight[:] = _window_weights(log_p, inside)
            progress.update(done + 1, len(parts))
        return self._share(memory)

    def _share(self, memory: np.ndarray) -> np.ndarray:
        """Moves of a round in each window: a quarter sweep on average, more for a long memory."""
        share = np.clip(memory / memory.mean(), 1 / 10, 10)
        return (share / share.mean() * self.sweep / _ROUNDS_A_SWEEP).astype(np.int64) | 1

    def _inside(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        levels = np.arange(self.n + 1)
        return (levels >= low[:, None]) & (levels <= high[:, None])

    def produce(self, bounds, learned: "_Learned", moves, bulk: _Bulk) -> "_Production":
        """Frozen weights; blocks until both wanted precisions are met or the budget is spent."""
        p = self.parameters
        progress = Progress("rewl, production stage", "blocks")
        low, high = np.array(bounds).T
        windows = _fixed(learned.log_weight, low, high)
        rounds = max(2, int(p.block_sweeps * _ROUNDS_A_SWEEP))
        # Rare enough that tests below A = n take a fraction of the time; odd, like the moves of a
        # round. A test costs about N / (9 n) rounds of one window.
        test_every = max(4 * _ROUNDS_A_SWEEP - 1, self.n_test // (2 * self.n) | 1)
        blocks: list[list] = []
        note = ""
        while True:
            top = int(high[-1])
            blocks.append(self._run([windows] * len(self.sets), rounds, moves, top, test_every))
            done = len(blocks)
            if done == p.max_blocks or (done >= p.min_blocks and done % 4 == 0):
                estimate = _estimate(windows.log_weight, blocks, bulk, self.n_test)
                complaints = _complaints(p, estimate, blocks)
                if done == p.max_blocks or not complaints:
                    break
                note = complaints[0]
            progress.update(done, p.max_blocks, note)
        if not np.isfinite(estimate.log_p[self.n]):
            complaints.insert(
                0,
                f"no weight setting with A = n = {self.n} was found, "
                f"the highest A met is {high[-1]}",
            )
        return _Production(blocks, estimate, complaints)


def _fixed(log_weight: np.ndarray, low: np.ndarray, high: np.ndarray) -> Windows:
    """Windows whose weights, a copy of those given, no visit changes."""
    return Windows(log_weight.copy(), low, high, np.zeros(len(low)), np.ones(len(low), np.int64))


def _window_weights(log_p: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """ln weights that make every A of a window as likely: (W, n + 1), -inf outside.

    An A between others that was never met is given what they suggest.
    """
    seen = np.flatnonzero(np.isfinite(log_p))
    return np.where(inside, -np.interp(np.arange(len(log_p)), seen, log_p[seen]), -np.inf)


@dataclass
class _Learned:
    """The learning stage: ln weights (W, n + 1), ln f after each step (steps, W), flatness (W)."""

    log_weight: np.ndarray
    ln_f: np.ndarray
    flatness: np.ndarray


@dataclass
class _Estimate:
    """What production says, all over A.

    Attributes:
        log_p, log_p_stderr: ln of the fraction of weight space, nats.
        accuracy, accuracy_stderr: mean test accuracy at A; NaN where it was not evaluated.
        tests: test evaluations.
        effective_samples: (W,): independent samples of A in each window.
        agreement: (W,): probability of a larger chi-squared between the histograms of a window and
            the one below it over their common A; NaN for the lowest.
        bulk_agreement: the same for the uniform draws and the window that holds most of them.
    """

    log_p: np.ndarray
    log_p_stderr: np.ndarray
    accuracy: np.ndarray
    accuracy_stderr: np.ndarray
    tests: np.ndarray
    effective_samples: np.ndarray
    agreement: np.ndarray
    bulk_agreement: float


@dataclass
class _Production:
    """Tallies by block and set, the estimate from all of them, and what it lacks."""

    blocks: list
    estimate: _Estimate
    complaints: list[str]


def _estimate(weight: np.ndarray, blocks: list, bulk: _Bulk, n_test: int) -> _Estimate:
    """Multi-histogram estimate with delete-one-group errors.

    Once a group is a stretch of one walker set, once a whole set; the larger error counts. The
    first knows short memories well from many groups, the second shows what outlasts a stretch.
    """
    sets = len(blocks[0])
    stretches = min(_GROUPS, len(blocks))
    grouped = np.array_split(np.arange(len(blocks)), stretches)

    def collect(field):
        return np.array(
            [
                sum(getattr(blocks[b][r], field) for b in part)
                for r in range(sets)
                for part in grouped
            ]
        )

    def regroup(counts):
        parts = np.array_split(counts.reshape(sets, _GROUPS, -1), stretches, axis=1)
        return np.array([part[r].sum(axis=0) for r in range(sets) for part in parts])

    visits = collect("visits").astype(float)  # (groups, W, n + 1)
    traces = [np.concatenate([block[r].trace for block in blocks], axis=1) for r in range(sets)]
    samples = np.zeros(visits.shape[1])
    for w in range(visits.shape[1]):
        trace = np.array([t[w] for t in traces])
        samples[w] = trace.size / statistical_inefficiency(trace)
        visits[:, w] *= samples[w] / visits[:, w].sum()
    draws = regroup(bulk.visits).astype(float)
    counts = np.concatenate([draws[:, None], visits], axis=1)
    log_weight = np.concatenate([np.zeros((1, weight.shape[1])), weight])
    total = counts.sum(axis=0)
    log_p, f = multi_histogram(total, log_weight)
    bulk_pair = [0, 1 + int((total[0] * np.isfinite(weight)).sum(axis=1).argmax())]
    tests = collect("tests") + regroup(bulk.tests)
    hits = collect("test_sum") + regroup(bulk.test_sum)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = hits.sum(axis=0) / tests.sum(axis=0) / n_test
        stderr, accuracy_stderr = np.zeros((2, len(log_p)))
        for pooled in (1, stretches):
            c, t, h = (
                values.reshape(-1, pooled, *values.shape[1:]).sum(axis=1)
                for values in (counts, tests, hits)
            )
            without = [multi_histogram(total - group, log_weight, f)[0] for group in c]
            stderr = np.maximum(stderr, jackknife_stderr(np.array(without)))
            without = (hits.sum(axis=0) - h) / (tests.sum(axis=0) - t) / n_test
            accuracy_stderr = np.maximum(accuracy_stderr, jackknife_stderr(without))
    return _Estimate(
        log_p,
        stderr,
        accuracy,
        accuracy_stderr,
        tests.sum(axis=0),
        samples,
        np.array(
            [np.nan]
            + [_agreement(total[w : w + 2], log_weight[w : w + 2]) for w in range(1, len(samples))]
        ),
        _agreement(total[bulk_pair], log_weight[bulk_pair]),
    )


def _agreement(counts: np.ndarray, log_weight: np.ndarray) -> float:
    """Chi-squared test that ln(counts / weight) of two ensembles differ by a constant only.

    Args:
        counts: (2, bins), effective samples.
        log_weight: (2, bins).

    Returns:
        The probability of a larger chi-squared; 0 if no bin has samples in both.
    """
    common = (counts > 0).all(axis=0)
    if not common.any():
        return 0.0
    difference = np.diff(np.log(counts[:, common]) - log_weight[:, common], axis=0)[0]
    precision = 1 / (1 / counts[:, common]).sum(axis=0)
    spread = difference - np.average(difference, weights=precision)
    freedom = common.sum() - 1
    return float(chdtrc(freedom, (precision * spread**2).sum())) if freedom else 1.0


def _traces(blocks: list) -> np.ndarray:
    """A at the end of every round of production: (W, sets, rounds)."""
    sets = range(len(blocks[0]))
    return np.stack([np.concatenate([b[r].trace for b in blocks], axis=1) for r in sets], axis=1)


def _exchange_rates(blocks: list) -> np.ndarray:
    """Fraction of exchanges accepted between each window and the next: (W - 1,)."""
    attempts = sum(tally.attempts for block in blocks for tally in block)[:-1]
    return sum(tally.exchanges for block in blocks for tally in block)[:-1] / np.maximum(
        attempts, 1
    )


def _complaints(parameters, estimate, blocks) -> list[str]:
    """Every criterion of convergence that a run does not meet, in words; none if it converged.

    The criteria: the wanted standard errors of ln V and of the accuracy; exchange between all
    neighbouring windows; enough effective samples; walkers of a window that agree (R-hat); windows
    that agree where they overlap, and with the uniform draws. Where A = n was not found, the
    errors are judged at the highest A that was.
    """
    complaints = []
    top = np.flatnonzero(np.isfinite(estimate.log_p))[-1]
    error, wanted = estimate.log_p_stderr[top], _wanted_error(parameters, estimate.log_p[top])
    if not error <= wanted:
        complaints.append(f"standard error of ln V {error:.3g} nats, wanted {wanted:.3g}")
    error, wanted = estimate.accuracy_stderr[top], parameters.accuracy_error
    if not error <= wanted:
        complaints.append(f"standard error of the accuracy {error:.3g}, wanted {wanted:.3g}")
    for w, rate in enumerate(_exchange_rates(blocks)):
        if rate < _LEAST_EXCHANGE:
            complaints.append(f"windows {w} and {w + 1} exchange at a rate of {rate:.3g} only")
    samples, r_hat = estimate.effective_samples, [split_r_hat(t) for t in _traces(blocks)]
    if samples.min() < _LEAST_SAMPLES and np.isfinite(estimate.log_p).sum() > 1:
        complaints.append(
            f"window {samples.argmin()} has {samples.min():.0f} effective samples, "
            f"fewer than {_LEAST_SAMPLES}"
        )
    if np.max(r_hat) > _LARGEST_R_HAT:
        complaints.append(f"walkers of window {np.argmax(r_hat)} differ, R-hat {np.max(r_hat):.2f}")
    for w, p in enumerate(estimate.agreement):
        if p < _LEAST_AGREEMENT:
            complaints.append(f"windows {w - 1} and {w} disagree where they overlap, p = {p:.1g}")
    if estimate.bulk_agreement < _LEAST_AGREEMENT:
        complaints.append(
            f"windows and uniform draws disagree, p = {estimate.bulk_agreement:.1g}"
        )
    return complaints


def _wanted_error(parameters: RewlParameters, log_volume: float) -> float:
    return max(parameters.ln_v_error * abs(log_volume), _ENOUGH_NATS)


def _result(problem, bounds, bulk, ladder, learned, production, moves) -> xr.Dataset:
    n, n_weights = len(problem.y_train), problem.network.n_weights
    estimate, blocks, complaints = production.estimate, production.blocks, production.complaints
    flat = [tally for block in blocks for tally in block]
    accepted = sum(t.accepted for t in flat) / sum(t.visits.sum(axis=1) for t in flat)
    reached = np.isfinite(estimate.log_p[n])
    upper = ladder.beta > 0
    result = common_result(
        test_accuracy=estimate.accuracy[n],
        test_accuracy_stderr=estimate.accuracy_stderr[n],
        log_volume=estimate.log_p[n] if reached else np.nan,
        log_volume_stderr=estimate.log_p_stderr[n] if reached else np.nan,
        converged=not complaints,
        verdict="not converged: " + "; ".join(complaints) if complaints else "converged",
        moves=moves,
        guesses=int(bulk.visits.sum()),
    )
    test_counts = sum(t.test_counts for t in flat)
    beta = np.concatenate([[0.0], ladder.beta[upper]])
    deficit = n - np.concatenate(
        [
            [np.average(np.arange(n + 1), weights=bulk.visits.sum(axis=0))],
            ladder.mean_correct[upper],
        ]
    )

    def over(dim, values, long_name, units):
        return (dim, np.asarray(values), {"long_name": long_name, "units": units})

    nan_if_unseen = np.where(np.isfinite(estimate.log_p), estimate.log_p_stderr, np.nan)
    return result.assign_coords(
        A=over("A", np.arange(n + 1), "training examples classified correctly", "1"),
        test_correct=over(
            "test_correct", np.arange(len(test_counts)), "test examples classified correctly", "1"
        ),
    ).assign(
        log_g=over("A", estimate.log_p + n_weights * np.log(2), "ln density of states", "nat"),
        log_g_stderr=over("A", nan_if_unseen, "standard error of log_g", "nat"),
        accuracy_given_A=over("A", estimate.accuracy, "mean test accuracy at A", "1"),
        accuracy_given_A_stderr=over(
            "A", estimate.accuracy_stderr, "standard error of accuracy_given_A", "1"
        ),
        tests_at_A=over("A", estimate.tests, "test evaluations at A", "1"),
        test_counts=over("test_correct", test_counts, "test evaluations at the highest A", "1"),
        window_low=over("window", [w[0] for w in bounds], "lowest A of the window", "1"),
        window_high=over("window", [w[1] for w in bounds], "highest A of the window", "1"),
        acceptance=over("window", accepted, "fraction of moves accepted", "1"),
        exchange_acceptance=over(
            "window",
            np.append(_exchange_rates(blocks), np.nan),
            "fraction of exchanges accepted with the next window",
            "1",
        ),
        effective_samples=over(
            "window", estimate.effective_samples, "effective sample size of A", "1"
        ),
        r_hat=over(
            "window",
            [split_r_hat(t) for t in _traces(blocks)],
            "split R-hat of A over walkers",
            "1",
        ),
        agreement=over(
            "window",
            estimate.agreement,
            "probability of a larger chi-squared against the window below, over their common A",
            "1",
        ),
        bulk_agreement=over(
            (),
            estimate.bulk_agreement,
            "probability of a larger chi-squared between windows and uniform draws",
            "1",
        ),
        flatness=over("window", learned.flatness, "least over mean visits, last of learning", "1"),
        ln_f=over(("learning_step", "window"), learned.ln_f, "modification factor", "nat"),
        round_trips=over((), int(sum(t.round_trips[0] for t in flat)), "round trips", "1"),
        production_blocks=over((), len(blocks), "blocks of production", "1"),
        log_volume_integrated=over(
            (),
            -float(np.trapezoid(deficit, beta)),
            "log-volume by thermodynamic integration of the exploratory pass, a rough check",
            "nat",
        ),
    )
