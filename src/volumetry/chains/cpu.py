"""The chains on the CPU: walker sets side by side in threads, each a kernel call for whole rounds.

One kernel serves every stage, because all that differs is the logarithm of the weight that a window
gives to a level: beta A for a canonical ladder, -ln g(A) inside a window and -infinity outside for
Wang-Landau, with or without an update of the weights.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

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
from volumetry.engines.evaluator import commit, evaluate, find_channels, initialise, revert
from volumetry.engines.layout import (
    Move,
    Plan,
    Scratch,
    State,
    borrow,
    make_move,
    make_plan,
    make_scratch,
    make_states,
    state_of,
)
from volumetry.kernels.jit import borrowed, inlined, jit, part
from volumetry.kernels.philox import draw_weights, log_uniform, words
from volumetry.kernels.streams import DRAWS, EXCHANGE, KINDS, MEMBERS, MOVES, stream
from volumetry.systems.classification import Classification
from volumetry.weights.flips import draw_flips, draw_kind, flip, gain, shift

_NO_PULL = Pull(np.empty(0, np.int8), 0.0)


class Buffers(NamedTuple):
    """Room for the evaluations of one walker set, and the examples they are made on.

    Attributes:
        plan, states, move, scratch: the training set; states lead with the replica.
        test_plan, test_states, test_scratch: the test set; states of all replicas if levels have
            more than one bin, else of one.
    """

    plan: Plan
    states: State
    move: Move
    scratch: Scratch
    test_plan: Plan
    test_states: State
    test_scratch: Scratch


class CpuChains:
    """``Chains`` in numba kernels."""

    def __init__(
        self, system: Classification, flips: int, sets: int, seed: int, pool: Executor | None = None
    ) -> None:
        """Lay out the examples; arguments as for ``open_chains``."""
        problem = system.problem
        self.system, self.sets = system, sets
        self._flips, self._seed = flips, np.uint64(seed)
        self._map = pool.map if pool else map
        self._plans = (
            make_plan(problem.network, problem.x_train, problem.y_train),
            make_plan(problem.network, problem.x_test, problem.y_test),
        )
        self._buffers: list[Buffers] = []
        self._spare: list[Buffers] = []
        self._weights = np.empty((sets, 0, problem.network.n_weights), np.int8)

    def bytes_needed(self, windows: int) -> int:
        """Memory that a replica in each of so many windows takes, all sets."""
        return self.sets * windows * self.system.walker_bytes()

    def place(self, weights: np.ndarray, step: int = 0) -> Walkers:
        """Put a walker into every window; weights int8 (R, W, n_weights)."""
        windows = weights.shape[1]
        self._make_buffers(windows)
        self._weights = np.array(weights, np.int8)
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
        windows = windows.mixed(self.system.space.size, self._flips)
        kinds = len(windows.mixture.kinds)
        tally = new_tally(self.sets, count, grid.size, self.system.largest_score, rounds, kinds)
        own = [windows] * self.sets
        if windows.ln_f.any():  # every set learns weights of its own
            own = [windows._replace(log_weight=windows.log_weight.copy()) for _ in own]
        rest = moves, tests.lowest(grid.size), tests.every, _NO_PULL

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
            weights = np.empty(self._weights.shape[-1], np.int8)
            with self._room() as buffers:
                for group in range(r * per_set, (r + 1) * per_set):
                    for number in range(group * each, (group + 1) * each):
                        draw_weights(self._seed, stream(DRAWS, 0), number, weights)
                        level, score = self._observe(buffers, weights)
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
            weights = np.empty(space.size, np.int8)
            draw_weights(self._seed, stream(DRAWS, 1), number, weights)
            with self._room() as buffers:
                return space.encode(weights), self._observe(buffers, weights, 0)[0]

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
        window = window.mixed(space.size, self._flips)
        kinds = len(window.mixture.kinds)
        test_low = tests.lowest(size)
        pulls = [_NO_PULL] * groups
        if pull is not None:  # arrays of the one type that the kernel is compiled for
            pulls = [Pull(own, float(pull.strength)) for own in np.array(pull.toward, np.int8)]

        def one(r):
            weights = space.decode(population.codes[parents[r]])[None]
            walkers = of_set(new_walkers(1, 1, population.step), 0)
            tally = of_set(new_tally(1, 1, size, self.system.largest_score, rounds, kinds), 0)
            with self._room() as buffers:
                walkers.level[0], _ = self._observe(buffers, weights[0], 0)
                run_rounds(
                    buffers,
                    weights,
                    walkers,
                    window,
                    tally,
                    levels,
                    self._seed,
                    MEMBERS + population.first + r,
                    np.array([moves]),
                    test_low,
                    tests.every,
                    pulls[r * groups // len(parents)],
                )
            overlap = (
                0 if pull is None else weights[0] @ pull.of_member(r, len(parents)).astype(int)
            )
            return space.encode(weights[0]), walkers, tally, overlap

        relaxed = new_relaxed(
            population, groups, size, self.system.largest_score, rounds, moves, kinds
        )
        for r, (code, walkers, tally, overlap) in enumerate(self._map(one, range(len(parents)))):
            relaxed.enter(r, code, walkers.level[0], tally)
            relaxed.overlap[r] = overlap
        return relaxed

    @contextmanager
    def _room(self) -> Iterator[Buffers]:
        """Buffers for a walker that stays nowhere: as many as there are threads that ask."""
        try:
            buffers = self._spare.pop()
        except IndexError:
            buffers = make_buffers(self.system, *self._plans, 1, self._flips)
        yield buffers
        self._spare.append(buffers)

    def _make_buffers(self, windows: int) -> None:
        if not self._buffers or len(self._buffers[0].states.sums) != windows:
            self._buffers = []  # free them first
            self._buffers = [
                make_buffers(self.system, *self._plans, windows, self._flips)
                for _ in range(self.sets)
            ]

    def _evaluate(self, level: np.ndarray) -> None:
        """Compute all values of every replica from its weights, and its level into ``level``."""

        def one(r):
            for replica, weights in enumerate(self._weights[r]):
                level[r, replica], _ = self._observe(self._buffers[r], weights, replica)

        list(self._map(one, range(self.sets)))

    def _observe(
        self, buffers: Buffers, weights: np.ndarray, replica: int | None = None
    ) -> tuple[int, int]:
        """Level and test score of weights; their values become those of ``replica``, if given.

        A replica whose level knows nothing of the test set is not tested: its score is 0.
        """
        binned, score = self.system.levels.bins > 1, 0
        state = State(*(values[replica or 0] for values in buffers.states))
        correct = initialise(buffers.plan, state, buffers.move, weights, buffers.scratch)
        if binned or replica is None:
            at = replica if binned and replica is not None else 0
            state = State(*(values[at] for values in buffers.test_states))
            score = initialise(
                buffers.test_plan, state, buffers.move, weights, buffers.test_scratch
            )
        return self.system.level(correct, score if binned else 0), score


def make_buffers(
    system: Classification, plan: Plan, test_plan: Plan, replicas: int, flips: int
) -> Buffers:
    """Room for ``replicas`` walkers on the examples of ``plan``, and of ``test_plan`` if binned."""
    network, binned = system.problem.network, system.levels.bins > 1
    n, n_test = int(plan.n.sum()), int(test_plan.n.sum())
    return Buffers(
        plan,
        make_states(network, n, replicas),
        make_move(network, flips),
        make_scratch(network, flips),
        test_plan,
        make_states(network, n_test, replicas if binned else 1, whole=binned),
        make_scratch(network, flips),
    )


@jit
def run_rounds(
    buffers,
    weights,
    walkers,
    windows,
    tally,
    levels,
    seed,
    walker_set,
    moves,
    test_low,
    test_every,
    pull,
):
    """Run the chain of one set, as ``Chains.advance`` says.

    With several bins every move has evaluated the test set already: ``test_low`` has to be beyond
    the levels and ``test_every`` 0.

    Args:
        seed: 64-bit key of the generator.
        walker_set: number of this walker set, part of every stream.
        moves: int64 (W).
        pull: of this walker set, ``toward`` (n_weights); empty for none.
    """
    n_windows, rounds = tally.trace.shape
    highest = tally.visits.shape[1] - 1
    for turn in range(rounds):
        number = walkers.step[0]
        for w in range(n_windows):
            place = w + n_windows * walker_set
            _run_window(
                buffers, weights, walkers, windows, tally, levels, seed, place, w, moves[w], pull
            )
        walkers.step[0] += 1
        for w in range(number % 2, n_windows - 1, 2):
            word = words(seed, stream(EXCHANGE, w + n_windows * walker_set), number, 0)[0]
            _try_exchange(walkers, windows, tally, w, log_uniform(word))
        _count_round_trips(walkers, tally)
        everywhere = test_every > 0 and number % test_every == test_every - 1
        for w in range(n_windows):
            replica = walkers.replica[w]
            level = walkers.level[replica]
            tally.trace[w, turn] = level
            if level >= test_low or everywhere:
                hits = initialise(
                    buffers.test_plan,
                    state_of(buffers.test_states, 0),
                    buffers.move,
                    weights[replica],
                    buffers.test_scratch,
                )
                tally.tests[level] += 1
                tally.test_sum[level] += hits
                if level == highest:
                    tally.test_counts[hits] += 1


@part
def _run_window(buffers, weights, walkers, windows, tally, levels, seed, place, w, moves, pull):
    replica = walkers.replica[w]
    plan, state, room, scratch = borrow(
        buffers.plan, state_of(buffers.states, replica), buffers.move, buffers.scratch
    )
    weights = borrowed(weights[replica])
    log_weight = borrowed(windows.log_weight[w])
    visits, changes = borrowed(tally.visits[w]), borrowed(tally.changes[w])
    kinds, until = borrowed(windows.mixture.kinds), borrowed(windows.mixture.until[w])
    proposed_of, accepted_of = borrowed(tally.proposed[w]), borrowed(tally.accepted[w])
    toward, strength = borrowed(pull.toward), pull.strength
    pulled = toward.size > 0
    binned = levels.bins > 1
    test_state = state_of(buffers.test_states, replica if binned else 0)
    test_plan, test_state, _, test_scratch = borrow(
        buffers.test_plan, test_state, buffers.move, buffers.test_scratch
    )
    least = windows.low[w]
    ln_f, interval = windows.ln_f[w], windows.interval[w]
    first = walkers.step[1 + w]
    level = walkers.level[replica]
    for step in range(first, first + moves):
        kind = draw_kind(seed, stream(KINDS, place), step, until)
        move = Move(room.flips[: kinds[kind, 2]], room.channels, room.first_stage)
        word = draw_flips(seed, stream(MOVES, place), step, kinds[kind, 1], move.flips)
        shift(move.flips, kinds[kind, 0])
        find_channels(plan, move)
        flip(weights, move.flips)
        correct = evaluate(plan, state, move, weights, scratch, least)
        proposed = correct
        accept = correct >= least
        tested = accept and binned
        if tested:
            hits = _evaluate_test(test_plan, test_state, move, weights, test_scratch)
            proposed = proposed * levels.bins + hits // levels.width
        if accept and (proposed != level or pulled):
            change = log_weight[proposed] - log_weight[level]
            if pulled:
                change += strength * gain(weights, move.flips, toward)
            accept = change >= 0 or log_uniform(word) < change
        if accept:
            commit(plan, state, move, scratch)
            if binned:
                commit(test_plan, test_state, move, test_scratch)
            accepted_of[kind] += 1
            if proposed != level:
                changes[level] += 1
                level = proposed
        else:
            revert(plan, state, move, scratch)
            if tested:
                _revert_test(test_plan, test_state, move, test_scratch)
            flip(weights, move.flips)
        visits[level] += 1
        proposed_of[kind] += 1
        if ln_f > 0 and step % interval == 0:
            log_weight[level] -= ln_f
    walkers.step[1 + w] += moves
    walkers.level[replica] = level


@part
def _evaluate_test(plan, state, move, weights, scratch):
    """``evaluate`` behind a call: the test set is large, and merged twice it compiles slowly."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    return evaluate(plan, state, move, borrowed(weights), scratch, 0)


@part
def _revert_test(plan, state, move, scratch):
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    revert(plan, state, move, scratch)


@inlined
def _try_exchange(walkers, windows, tally, w, log_u):
    """Exchange the replicas of windows w and w + 1 with the Metropolis probability."""
    a, b = walkers.replica[w], walkers.replica[w + 1]
    lower, upper = windows.log_weight[w], windows.log_weight[w + 1]
    x, y = walkers.level[a], walkers.level[b]
    tally.attempts[w] += 1
    change = lower[y] + upper[x] - lower[x] - upper[y]
    if change >= 0 or log_u < change:
        walkers.replica[w], walkers.replica[w + 1] = b, a
        tally.exchanges[w] += 1


@inlined
def _count_round_trips(walkers, tally):
    last = walkers.replica.size - 1
    bottom, top = walkers.replica[0], walkers.replica[last]
    if last > 0:
        if walkers.heading[bottom] == 1:
            tally.round_trips[bottom] += 1
        walkers.heading[bottom] = -1
        if walkers.heading[top] == -1:
            walkers.heading[top] = 1
