"""The stages that rewl and joint share: explore, divide into windows, settle, produce.

What is made flat is a *coordinate* of the level: A for rewl, the bin of the test accuracy for
joint. A sampler adds what is its own: where the walkers start, what fixes the absolute scale, and
what precision is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from volumetry.chains.cpu import (
    Levels,
    Tally,
    Windows,
    draw_uniform,
    make_memory,
    make_tally,
    make_walkers,
    run_rounds,
    start,
)
from volumetry.engines.layout import make_plan
from volumetry.engines.memory import walker_bytes
from volumetry.estimate.production import LEAST_EXCHANGE, Production, Uniform
from volumetry.estimate.reweighting import multi_histogram, statistical_inefficiency
from volumetry.runtime.checkpoint import Arrays, Checkpoint
from volumetry.runtime.memory import require
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Problem
from volumetry.weights.binary import pack_weights, unpack_weights

ROUNDS_A_SWEEP = 4
_LARGEST_BETA = 40.0
_LEAST_SWEEP = 300
_TRIALS, _MOST_TRIALS = 4, 16
_RUNG_SHARE = 0.02
_WALKERS = ("level", "replica", "heading", "step")  # all of ``Walkers`` but the weights


@dataclass
class Ladder:
    """The exploratory pass.

    Attributes:
        log_p: (levels,): a first ln of the probability of a level; -inf where never seen.
        counts, log_weight: (ensembles, levels): effective samples and ln weights of the uniform
            draws, if any, and of every rung.
        change_rate: (levels,): fraction of moves that change the level, at each level seen.
        memory: (coordinates,): moves until the coordinate is forgotten, at the value nearest to a
            rung's mean.
        snapshots, snapshot_levels: (states, n_weights), (states,): weights met on the way.
        beta, mean: (rungs,): the inverse temperatures and the mean of the coordinate there.
    """

    log_p: np.ndarray
    counts: np.ndarray
    log_weight: np.ndarray
    change_rate: np.ndarray
    memory: np.ndarray
    snapshots: np.ndarray
    snapshot_levels: np.ndarray
    beta: np.ndarray
    mean: np.ndarray

    def longest_memory(self, bounds: list[tuple[int, int]]) -> np.ndarray:
        """Moves until the most persistent coordinate of each window is forgotten: (W,)."""
        return np.array([self.memory[low : high + 1].max() for low, high in bounds])


def plan_windows(log_p: np.ndarray, window_cost: float) -> list[tuple[int, int]]:
    """Overlapping windows that cover all that was seen, narrow where the density is steep.

    The cost of a step is 1 plus the change of ln p in nats. Windows have equal cost and share two
    thirds of it with the next, at least half of their bins.

    Args:
        log_p: (coordinates,): a first ln p, up to a constant; -inf where never seen.
        window_cost: wanted cost of a window.

    Returns:
        (lowest, highest) coordinate of each window, inclusive, ascending.
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


def fixed_windows(log_weight: np.ndarray, low: np.ndarray) -> Windows:
    """Windows whose weights, a copy of those given, no visit changes."""
    return Windows(log_weight.copy(), low, np.zeros(len(low)), np.ones(len(low), np.int64))


class FlatHistogram:
    """The shared stages of one run; holds the walker sets and their memory."""

    def __init__(
        self,
        name: str,
        problem: Problem,
        parameters,
        seed: int,
        pool,
        levels: Levels,
        base_weight,
        device: str = "cpu",
        checkpoint: Checkpoint | None = None,
    ):
        """Set up one walker a set.

        Args:
            name: of the sampler, for the log.
            parameters: with flips, walkers, rung_sweeps, settle_sweeps, block_sweeps, min_blocks
                and max_blocks.
            pool: an executor; walker sets run side by side in it.
            base_weight: (levels,): ln weight that every ensemble of this run shares.
            device: cpu or cuda; nothing that follows depends on it.
            checkpoint: every ``run`` is a step of it.
        """
        self.name, self.problem, self.network = name, problem, problem.network
        self.parameters, self.seed, self.pool = parameters, seed, pool
        self.levels, self.base_weight = levels, base_weight
        index = np.arange(len(base_weight))
        self.coordinate = index if levels.bins == 1 else index % levels.bins
        self.n_coordinates = int(self.coordinate.max()) + 1
        self.n, self.n_test = len(problem.y_train), len(problem.y_test)
        most = max(1, self.network.n_weights - 1)
        self.flips = min(parameters.flips, most - 1 + most % 2)
        self.sweep = max(_LEAST_SWEEP, self.network.n_weights // self.flips)
        self.moves = 0
        self.checkpoint = checkpoint or Checkpoint()
        self._behind = False
        train, test = (problem.x_train, problem.y_train), (problem.x_test, problem.y_test)
        self._gpu = None
        if device != "cpu":
            from volumetry.chains.gpu import Chains  # needs triton

            self._gpu = Chains(self.network, train, test, self.flips, levels, device)
        else:
            self._check_memory(parameters.walkers, 1)
            plans = make_plan(self.network, *train), make_plan(self.network, *test)
            self._make_memory = lambda replicas: [
                make_memory(self.network, *plans, replicas, self.flips, levels.bins)
                for _ in range(parameters.walkers)
            ]
            self.memory = self._make_memory(1)
        self.sets = [make_walkers(self.network, 1) for _ in range(parameters.walkers)]

    def run(
        self,
        windows: list[Windows],
        rounds: int,
        moves,
        test_low: int | None = None,
        test_every: int = 0,
        keep_top: bool = False,
    ) -> list[Tally]:
        """Run every walker set; ``moves`` of a round are one number or one for each window.

        After a run that the checkpoint recalls, weights are known in the last window alone, and
        only with ``keep_top``; the next run that is not recalled knows them all.
        """
        moves = np.broadcast_to(moves, len(windows[0].low)).astype(np.int64)
        size = len(self.base_weight)
        tallies = [make_tally(len(own.low), size, self.n_test, rounds) for own in windows]
        rest = moves, size if test_low is None else test_low, test_every

        def one(r):
            own = self.memory[r], self.sets[r], windows[r], tallies[r]
            run_rounds(*own, self.levels, np.uint64(self.seed), r, *rest)

        record = self.checkpoint.recall()
        if record is not None:
            self._recall(record, windows, tallies)
        else:
            if self._behind:
                self._catch_up()
            if self._gpu:
                self._gpu.run_rounds(self.sets, windows, tallies, self.seed, *rest)
            else:
                list(self.pool.map(one, range(len(self.sets))))
            self.checkpoint.add(partial(self._record, windows, tallies, keep_top), self._state)
        self.moves += int(moves.sum()) * rounds * len(windows)
        return tallies

    def _record(self, windows: list[Windows], tallies: list[Tally], keep_top: bool) -> Arrays:
        """What a run has changed, but for the weights, of which at most the top ones are in it."""
        record = {field: np.stack([getattr(t, field) for t in tallies]) for field in Tally._fields}
        record |= {field: np.stack([getattr(w, field) for w in self.sets]) for field in _WALKERS}
        if windows[0].ln_f.any():
            record["log_weight"] = np.stack([own.log_weight for own in windows])
        if keep_top:
            record["top"] = pack_weights([w.weights[w.replica[-1]] for w in self.sets])
        return record

    def _recall(self, record: Arrays, windows: list[Windows], tallies: list[Tally]) -> None:
        for r, walkers in enumerate(self.sets):
            for field in Tally._fields:
                getattr(tallies[r], field)[...] = record[field][r]
            for field in _WALKERS:
                getattr(walkers, field)[...] = record[field][r]
            if "log_weight" in record:
                windows[r].log_weight[...] = record["log_weight"][r]
            if "top" in record:
                weights = unpack_weights(record["top"][r], self.network.n_weights)
                walkers.weights[walkers.replica[-1]] = weights
        self._behind = True

    def _state(self) -> Arrays:
        return {"weights": pack_weights([walkers.weights for walkers in self.sets])}

    def _catch_up(self) -> None:
        """Go on where the checkpoint ends."""
        for walkers, bits in zip(self.sets, self.checkpoint.state["weights"]):
            walkers.weights[...] = unpack_weights(bits, self.network.n_weights)
        self._start()

    def _start(self) -> None:
        self._behind = False
        if self._gpu:
            self._gpu.start(self.sets)
        else:
            one = partial(start, levels=self.levels)
            list(self.pool.map(one, self.memory, self.sets))

    def draw_uniform(self, r: int, weights: np.ndarray, first: int, *counts: np.ndarray) -> None:
        """``chains.draw_uniform`` with the memory of set ``r``."""
        if self._gpu:
            self._gpu.draw_uniform(weights, self.seed, first, *counts)
        else:
            draw_uniform(self.memory[r], weights, np.uint64(self.seed), first, *counts)

    def _odd(self, sweeps: float, rounds: int) -> int:
        # Odd, so that states at the ends of rounds alternate in parity like those in between.
        return int(sweeps * self.sweep / rounds) | 1

    def marginal(self, log_p: np.ndarray) -> np.ndarray:
        """ln of the coordinate's probability under the base weight: (coordinates,)."""
        values = np.full(self.n_coordinates, -np.inf)
        np.logaddexp.at(values, self.coordinate, log_p + self.base_weight)
        return values

    def window_weights(self, log_p: np.ndarray, bounds: list[tuple[int, int]]) -> np.ndarray:
        """ln weights that make every coordinate of a window as likely: (W, levels).

        They are -inf outside. A coordinate between others that was never met is given what they
        suggest.
        """
        values = self.marginal(log_p)
        seen = np.flatnonzero(np.isfinite(values))
        flat = -np.interp(np.arange(self.n_coordinates), seen, values[seen])
        weight = self.base_weight + flat[self.coordinate]
        return np.where(self.inside(bounds), weight, -np.inf)

    def inside(self, bounds: list[tuple[int, int]]) -> np.ndarray:
        """Whether a level is in a window: (W, levels)."""
        low, high = np.array(bounds).T[:, :, None]
        return (self.coordinate >= low) & (self.coordinate <= high)

    def explore(
        self,
        starts: np.ndarray,
        uniform: Uniform | None = None,
        depth: float = np.inf,
        reach: int = 0,
        goal: int = 0,
    ) -> Ladder:
        """Anneal every set from beta = 0 to both ends; join the rungs to a first ln p.

        Args:
            starts: int8 (sets, n_weights).
            uniform: an ensemble of its own; without one, a rung at beta = 0 takes its place.
            depth: nats; the anneal stops where its ensemble is a fraction exp(-depth) of the first,
            reach: but going up not before its mean coordinate is this high.
            goal: going up, walkers at the highest coordinate met are not at the end below this one.
        """
        progress = Progress(f"{self.name}, exploratory pass", "units of beta")
        size = len(self.base_weight)
        values = np.arange(self.n_coordinates)
        betas, ensembles, traces = [], [], []
        changes, visits = np.zeros((2, size))
        snapshots, snapshot_levels = [], []
        for direction in (1.0, -1.0):
            for walkers, weights in zip(self.sets, starts):
                walkers.weights[0] = weights
            self._start()
            beta, spread, at_end = 0.0, None, 0
            log_z, last_beta, last_mean, deep = 0.0, 0.0, None, False
            if uniform is not None:
                spread = np.repeat(self.coordinate, uniform.visits.sum(axis=0)).std()
            while abs(beta) < _LARGEST_BETA and at_end < 2 and not deep:
                # Neighbouring rungs overlap when the mean moves by about one standard deviation.
                if spread is not None:
                    beta += direction * min(1.0, 1.0 / max(spread, 1e-9))
                tallies, moves = self._run_rung(beta)
                rung = sum(t.visits[0] for t in tallies)
                # A walker that never left its level says nothing about how that compares.
                moved = [t for t in tallies if t.changes.any()]
                telling = moved if betas else tallies
                if telling:
                    betas.append(beta)
                    ensembles.append(sum(t.visits[0] for t in telling))
                    traces.append(self.coordinate[np.concatenate([t.trace for t in telling])])
                changes += sum(t.changes[0] for t in tallies)
                visits += rung
                snapshots += [w.weights[0].copy() for w in self.sets]
                snapshot_levels += [int(w.level[0]) for w in self.sets]
                by_value = np.bincount(self.coordinate, rung, self.n_coordinates)
                mean = np.average(values, weights=by_value)
                spread = np.sqrt(np.average((values - mean) ** 2, weights=by_value))
                # Relative entropy to beta = 0: beta <x> - ln Z(beta), by thermodynamic integration.
                before = mean if last_mean is None else last_mean
                log_z += (beta - last_beta) * (before + mean) / 2
                last_beta, last_mean = beta, mean
                deep = beta * mean - log_z > depth and not (direction > 0 and mean < reach)
                seen = np.flatnonzero(np.bincount(self.coordinate, visits))
                end = seen[-1] if direction > 0 else seen[0]
                arrived = by_value[end] > 0.5 * by_value.sum() and (direction < 0 or end >= goal)
                at_end = at_end + 1 if arrived or not moved else 0
                progress.update(
                    abs(beta), _LARGEST_BETA, f"beta {beta:.2f}, mean coordinate {mean:.1f}"
                )
        slowness = np.array([statistical_inefficiency(trace) for trace in traces])
        counts = [c / c.sum() * t.size / s for c, t, s in zip(ensembles, traces, slowness)]
        means = np.array([np.average(self.coordinate, weights=c) for c in ensembles])
        weights = [self.base_weight + beta * self.coordinate for beta in betas]
        if uniform is not None:
            counts.insert(0, uniform.visits.sum(axis=0))
            weights.insert(0, np.zeros(size))
        log_p, _ = multi_histogram(np.array(counts), np.array(weights))
        order = np.argsort(means)
        by_beta = np.argsort(betas)
        with np.errstate(invalid="ignore"):
            rate = changes / visits
        return Ladder(
            log_p,
            np.array(counts),
            np.array(weights),
            rate,
            np.interp(values, means[order], slowness[order] * moves),
            np.array(snapshots),
            np.array(snapshot_levels),
            np.array(betas)[by_beta],
            means[by_beta],
        )

    def _run_rung(self, beta: float) -> tuple[list[Tally], int]:
        """A quarter of ``rung_sweeps`` to settle, and the tallies of the rest; moves a round."""
        weight = self.base_weight + beta * self.coordinate
        windows = [fixed_windows(weight[None, :], np.zeros(1, np.int64))] * len(self.sets)
        moves = self._odd(self.parameters.rung_sweeps, 32)
        self.run(windows, 8, moves)
        return self.run(windows, 24, moves, keep_top=True), moves

    def enter(
        self, bounds: list[tuple[int, int]], snapshots: np.ndarray, snapshot_levels: np.ndarray
    ) -> list[tuple[int, int]]:
        """Put a replica of every set into every window, from the nearest state met so far.

        Args:
            bounds: the windows.
            snapshots, snapshot_levels: states (states, n_weights), numbered so that state s was
                met by set s modulo the number of sets, and their levels.

        Returns:
            The windows; if one of them cannot be entered, a single one over all of them.
        """
        steps = self.sets[0].step.max()
        if not self._gpu:
            self._check_memory(len(self.sets), len(bounds))
            self.memory = self._make_memory(len(bounds))
        self.sets = [make_walkers(self.network, len(bounds)) for _ in self.sets]
        met = self.coordinate[snapshot_levels]
        for r, walkers in enumerate(self.sets):
            own = np.arange(len(met)) % len(self.sets) != r
            for w, (low, high) in enumerate(bounds):
                outside = np.maximum(low - met, met - high).clip(0)
                centre = np.abs(2 * met - low - high)
                walkers.weights[w] = snapshots[np.lexsort((centre, own, outside))[0]]
            walkers.step[:] = steps  # beyond every random number used so far
        self._start()
        # Push the few that are still outside: weights that fall steeply with the distance.
        low, high = np.array(bounds).T
        distance = np.maximum(low[:, None] - self.coordinate, self.coordinate - high[:, None]).clip(
            0
        )
        push = fixed_windows(self.base_weight - 10.0 * distance, np.zeros_like(low))
        for _ in range(100):
            inside = [distance[range(len(low)), w.level[w.replica]] == 0 for w in self.sets]
            if np.all(inside):
                return bounds
            self.run([push] * len(self.sets), 1, self._odd(1, 1), keep_top=True)
        return self.enter([(int(low[0]), int(high[-1]))], snapshots, snapshot_levels)

    def _check_memory(self, walkers: int, windows: int) -> None:
        """Refuse what would not fit, before it is allocated."""
        n_test = self.n_test if self.levels.bins > 1 else 0
        require(
            walkers * windows * walker_bytes(self.network, self.n, n_test),
            f"{self.name}: {walkers * windows} walkers, {walkers} in each of {windows} windows,",
            f"lower samplers.{self.name}.walkers, raise samplers.{self.name}.window_cost, or give "
            "the job more memory",
        )

    def divide(
        self,
        ladder: Ladder,
        window_cost: float,
        first_weights: Callable[[list[tuple[int, int]]], np.ndarray],
        snapshots: np.ndarray,
        snapshot_levels: np.ndarray,
        depth: float = np.inf,
        reach: int = 0,
    ) -> tuple[list[tuple[int, int]], np.ndarray, np.ndarray]:
        """Windows with walkers and settled weights, twice as large where they do not exchange.

        Args:
            window_cost: of ``plan_windows``, to begin with.
            first_weights: from the windows to ln weights (W, levels) to settle from.
            snapshots, snapshot_levels: as for ``enter``.
            depth: nats; coordinates rarer than exp(-depth) of the most common get no window,
            reach: except from that one up to this.

        Returns:
            The windows, their ln weights (W, levels), and the moves of a round in each (W,).
        """
        while True:
            marginal = self.marginal(ladder.log_p)
            rare = marginal < marginal.max() - depth
            rare[marginal.argmax() : reach + 1] = False
            marginal[rare] = -np.inf
            bounds = plan_windows(marginal, window_cost)
            bounds = self.enter(bounds, snapshots, snapshot_levels)
            log_weight, moves, exchange = self.settle(bounds, first_weights(bounds), ladder)
            # Twice what the verdict asks, since production will see other fluctuations.
            if len(bounds) == 1 or exchange.min() >= 2 * LEAST_EXCHANGE:
                return bounds, log_weight, moves
            window_cost *= 2

    def settle(
        self, bounds: list[tuple[int, int]], log_weight: np.ndarray, ladder: Ladder
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fixed-weight trials, each twice as long as the one before, in which the walkers settle.

        After each, the weights are set to the multi-histogram estimate from all trials so far, and
        windows where the coordinate is forgotten slowly get more of the moves. While a coordinate
        still traps the walkers, more trials of the last length follow.

        Args:
            log_weight: (W, levels), to start with.

        Returns:
            The ln weights (W, levels), the moves of a round in each window (W,), and the fraction
            of exchanges accepted with the next window in the last trial (W - 1,).
        """
        low = np.array([window[0] for window in bounds])
        # The annealed rungs only hold the pieces together: they were not in equilibrium.
        counts, log_weights = [_RUNG_SHARE * ladder.counts], [ladder.log_weight]
        counts[0][0] = ladder.counts[0]
        # One sample of each coordinate on top: what a short trial missed is not made ever likelier.
        marginal = self.marginal(ladder.log_p)[self.coordinate].clip(-1e300)
        populated = self.inside(bounds) * np.exp(ladder.log_p + self.base_weight - marginal)
        memory = ladder.longest_memory(bounds)
        parts = [2**trial for trial in range(_TRIALS)]
        progress = Progress(f"{self.name}, trials", "trials")
        for done in range(_MOST_TRIALS):
            part = parts[min(done, _TRIALS - 1)]
            moves = self.share(memory)
            windows = fixed_windows(log_weight, low)
            sweeps = self.parameters.settle_sweeps * part / sum(parts)
            rounds = max(4, int(sweeps * ROUNDS_A_SWEEP))
            tallies = self.run([windows] * len(self.sets), rounds, moves)
            traces = self.coordinate[np.stack([t.trace for t in tallies], axis=1)]
            slow = np.array([statistical_inefficiency(trace) for trace in traces])
            memory = slow * moves
            visits = sum(t.visits for t in tallies)
            share = visits / visits.sum(axis=1, keepdims=True)
            counts.append(share * (traces[0].size / slow)[:, None] + populated)
            log_weights.append(windows.log_weight)
            log_p, _ = multi_histogram(np.concatenate(counts), np.concatenate(log_weights))
            log_weight = self.window_weights(log_p, bounds)
            progress.update(min(done + 1, _TRIALS), _TRIALS)
            if done + 1 >= _TRIALS and not self._trapped(visits, bounds):
                break
        attempts, exchanges = (
            sum(getattr(t, field) for t in tallies)[:-1] for field in ("attempts", "exchanges")
        )
        return log_weight, self.share(memory), exchanges / np.maximum(attempts, 1)

    def _trapped(self, visits: np.ndarray, bounds: list[tuple[int, int]]) -> bool:
        """Whether one coordinate of a window drew far more than its share of the visits."""
        for count, (low, high) in zip(visits, bounds):
            largest = np.bincount(self.coordinate, count).max() / count.sum()
            if largest > max(0.5, 2 / (high - low + 1)):
                return True
        return False

    def share(self, memory: np.ndarray) -> np.ndarray:
        """Moves of a round in each window: a quarter sweep on average, more for a long memory."""
        share = np.clip(memory / memory.mean(), 1 / 10, 10)
        return (share / share.mean() * self.sweep / ROUNDS_A_SWEEP).astype(np.int64) | 1

    def produce(
        self,
        bounds: list[tuple[int, int]],
        log_weight: np.ndarray,
        moves: np.ndarray,
        uniform: Uniform | None,
        complain: Callable[[Production], list[str]],
        test_low: int | None = None,
        test_every: int = 0,
    ) -> tuple[Production, list[str]]:
        """Frozen weights; blocks until nothing is left to complain of or the budget is spent.

        Twice in a row there has to be nothing: to stop at the first error bar that is small enough
        would select those that are too small.

        Args:
            complain: what a production lacks, in words, the most important first.
            test_low, test_every: as in ``chains.run_rounds``.

        Returns:
            The production, and what it lacks.
        """
        p = self.parameters
        progress = Progress(f"{self.name}, production stage", "blocks")
        windows = fixed_windows(log_weight, np.array([window[0] for window in bounds]))
        rounds = max(2, int(p.block_sweeps * ROUNDS_A_SWEEP))
        blocks: list[list[Tally]] = []
        note, quiet = "", False
        while True:
            own = [windows] * len(self.sets)
            tallies = self.run(own, rounds, moves, test_low, test_every, keep_top=True)
            # A window visits few of all levels, and there may be hundreds of blocks.
            blocks.append([t._replace(visits=csr_array(t.visits), changes=None) for t in tallies])
            done = len(blocks)
            if done == p.max_blocks or (done >= p.min_blocks and done % 4 == 0):
                production = Production(
                    windows.log_weight, blocks, self.coordinate, uniform, self.n_test
                )
                complaints = complain(production)
                if done == p.max_blocks or (quiet and not complaints):
                    return production, complaints
                quiet = not complaints
                note = complaints[0] if complaints else "converged, to be confirmed"
            trips = sum(int(tally.round_trips.sum()) for block in blocks for tally in block)
            made = f"{trips:,} round trips in {done} blocks"
            progress.update(done, p.max_blocks, f"{made}; {note}" if note else made)
