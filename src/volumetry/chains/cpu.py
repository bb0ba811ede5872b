"""The chains on the CPU: walker sets side by side in threads, each a kernel call for whole rounds.

One kernel serves every stage, because all that differs is the logarithm of the weight that a window
gives to a level: beta A for a canonical ladder, -ln g(A) inside a window and -infinity outside for
Wang-Landau, with or without an update of the weights.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import numpy as np

from volumetry.chains import window_binary, window_real
from volumetry.chains.records import (
    NO_TESTS,
    Advance,
    Draws,
    Population,
    Pull,
    Relaxed,
    Schedule,
    Walkers,
    Windows,
    new_relaxed,
    new_tally,
    new_walkers,
    of_set,
)
from volumetry.chains.rounds import observe, relax_members, run_rounds
from volumetry.kernels.streams import DRAWS, MEMBERS, stream
from volumetry.systems.system import System
from volumetry.weights.binary import BinaryWeights
from volumetry.weights.real import RealWeights

_OF_SPACE = {BinaryWeights: window_binary, RealWeights: window_real}
"""What moves weights, by the space that they live in."""

_AT_ONCE = 16
"""Most members that one call of a kernel relaxes."""


class CpuChains:
    """``Chains`` in numba kernels."""

    def __init__(
        self, system: System, flips: int, sets: int, seed: int, pool: Executor | None = None
    ) -> None:
        """Lay out the examples; arguments as for ``open_chains``."""
        self.system, self.sets = system, sets
        self._flips, self._seed = flips, np.uint64(seed)
        self._map = pool.map if pool else map
        self._here = _OF_SPACE[type(system.space)]
        self._plans = self._here.plans_of(system)
        self._buffers: list = []
        self._spare: list = []
        self._weights = np.empty((sets, 0, system.space.size), system.space.dtype)
        self._no_pull = Pull(np.empty(0, system.space.dtype), 0.0)

    def bytes_needed(self, windows: int) -> int:
        """Memory that a replica in each of so many windows takes, all sets."""
        return self.sets * windows * self.system.walker_bytes()

    def place(self, weights: np.ndarray, step: int = 0) -> Walkers:
        """Put a walker into every window; weights (R, W, n_weights)."""
        windows = weights.shape[1]
        self._make_buffers(windows)
        self._weights = np.array(weights, self.system.space.dtype)
        walkers = new_walkers(self.sets, windows, step)
        self._evaluate(walkers.level)
        return walkers

    def resume(self, walkers: Walkers, positions: np.ndarray) -> None:
        """Go on from walkers whose weights ``positions`` told."""
        self._make_buffers(walkers.level.shape[1])
        self._weights = self.system.space.decode(positions)
        self._evaluate(np.empty_like(walkers.level))

    def positions(self) -> np.ndarray:
        """The weights of all walkers, packed."""
        return self.system.space.encode(self._weights)

    def advance(
        self,
        walkers: Walkers,
        windows: Windows,
        rounds: int,
        moves: np.ndarray,
        tests: Schedule = NO_TESTS,
    ) -> Advance:
        """Make rounds; see ``Chains.advance``."""
        levels, grid = self.system.levels, self.system.grid
        count = len(windows.low)
        moves = np.array(np.broadcast_to(moves, count), np.int64)
        walkers = Walkers(*(values.copy() for values in walkers))
        windows = windows.mixed(self.system.space, self._flips)
        kinds = len(windows.mixture.kinds)
        tally = new_tally(self.sets, count, grid.size, self.system.largest_score, rounds, kinds)
        own = [windows] * self.sets
        if windows.ln_f.any():  # every set learns weights of its own
            own = [windows._replace(log_weight=windows.log_weight.copy()) for _ in own]
        rest = moves, tests.lowest(grid.size), tests.every, self._no_pull

        def one(r):
            records = of_set(walkers, r), own[r], of_set(tally, r)
            run_rounds(self._buffers[r], self._weights[r], *records, levels, self._seed, r, *rest)

        list(self._map(one, range(self.sets)))
        top = self._weights[np.arange(self.sets), walkers.replica[:, -1]]
        return Advance(walkers, tally, np.array([each.log_weight for each in own]), top)

    def draw(self, groups: int, each: int) -> Draws:
        """Draw weights independently; see ``Chains.draw``."""
        visits, tests, test_sum = np.zeros((3, groups, self.system.grid.size), np.int64)
        per_set = groups // self.sets

        def one(r):
            with self._room() as buffers:
                for group in range(r * per_set, (r + 1) * per_set):
                    for number in range(group * each, (group + 1) * each):
                        weights = self._draw(0, number)
                        level, score = observe(buffers, weights, self.system.levels, 0, True)
                        visits[group, level] += 1
                        tests[group, level] += 1
                        test_sum[group, level] += score
            return weights

        last = np.array(list(self._map(one, range(self.sets))))
        return Draws(visits, tests, test_sum, last)

    def populate(self, first: int, members: int) -> Population:
        """Draw a population; see ``Chains.populate``."""
        space = self.system.space

        def one(number):
            weights = self._draw(1, number)
            with self._room() as buffers:
                level, _ = observe(buffers, weights, self.system.levels, 0, False)
                return space.encode(weights), level

        codes, level = zip(*self._map(one, range(first, first + members)))
        return Population(np.array(codes), np.array(level, np.int64), first, 0)

    def relax(
        self,
        population: Population,
        parents: np.ndarray,
        window: Windows,
        rounds: int,
        moves: int,
        groups: int,
        tests: Schedule = NO_TESTS,
        pull: Pull | None = None,
    ) -> Relaxed:
        """Relax a population; see ``Chains.relax``."""
        space, levels, size = self.system.space, self.system.levels, self.system.grid.size
        window = window.mixed(space, self._flips)
        kinds = len(window.mixture.kinds)
        test_low = tests.lowest(size)
        pulls = [self._no_pull] * groups
        if pull is not None:  # arrays of the one type that the kernel is compiled for
            pulls = [Pull(own, float(pull.strength)) for own in np.array(pull.toward, space.dtype)]

        def some(members: slice):
            own = pulls[members.start * groups // len(parents)]
            weights = space.decode(population.codes[parents[members]])
            walkers = of_set(new_walkers(1, 1, population.step), 0)
            tally = of_set(new_tally(1, 1, size, self.system.largest_score, rounds, kinds), 0)
            level = np.empty(len(weights), np.int64)
            trace = np.empty((len(weights), rounds), np.int32)
            with self._room() as buffers:
                relax_members(
                    buffers,
                    weights,
                    level,
                    trace,
                    walkers,
                    window,
                    tally,
                    levels,
                    self._seed,
                    MEMBERS + population.first + members.start,
                    np.array([moves]),
                    test_low,
                    tests.every,
                    own,
                )
            overlap = space.overlap(weights, own.toward) if own.toward.size else 0
            return overlap, space.encode(weights), level, trace, tally

        relaxed = new_relaxed(
            population, groups, size, self.system.largest_score, rounds, moves, kinds
        )
        parts = list(_in_parts(len(parents), groups))
        for members, (overlap, *found) in zip(parts, self._map(some, parts)):
            relaxed.overlap[members] = overlap
            relaxed.enter(members, *found)
        return relaxed

    def _draw(self, place: int, number: int) -> np.ndarray:
        return self._here.draw(self.system, self._seed, stream(DRAWS, place), number)

    @contextmanager
    def _room(self) -> Iterator:
        """Buffers for a walker that stays nowhere: as many as there are threads that ask."""
        try:
            buffers = self._spare.pop()
        except IndexError:
            buffers = self._here.make_buffers(self.system, *self._plans, 1, self._flips)
        yield buffers
        self._spare.append(buffers)

    def _make_buffers(self, windows: int) -> None:
        if not self._buffers or len(self._buffers[0].states.sums) != windows:
            self._buffers = []  # free them first
            self._buffers = [
                self._here.make_buffers(self.system, *self._plans, windows, self._flips)
                for _ in range(self.sets)
            ]

    def _evaluate(self, level: np.ndarray) -> None:
        """Compute all values of every replica from its weights, and its level into ``level``."""

        def one(r):
            for replica, weights in enumerate(self._weights[r]):
                level[r, replica], _ = observe(
                    self._buffers[r], weights, self.system.levels, replica, False
                )

        list(self._map(one, range(self.sets)))


def _in_parts(members: int, groups: int) -> Iterator[slice]:
    """Members of one group, few at a time: threads share them, and a kernel's call is not free."""
    size = members // groups
    for first in range(0, members, size):
        for start in range(first, first + size, _AT_ONCE):
            yield slice(start, min(start + _AT_ONCE, first + size))
