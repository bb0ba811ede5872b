"""The Markov chain kernel of the samplers: walkers in weighted windows, with replica exchange.

A walker's *level* says what is counted: the number A of correct training examples, or A and the
number of correct test examples together (``Levels``). One kernel serves every stage, because all
that differs is the logarithm of the weight that a window gives to a level: beta A for a canonical
ladder, -ln g(A) inside a window and -infinity outside for Wang-Landau, with or without an update of
the weights.
"""

from typing import NamedTuple

import numpy as np

from volumetry.engines.evaluator import commit, evaluate, find_channels, initialise, revert
from volumetry.engines.layout import (
    Move,
    Plan,
    Scratch,
    State,
    borrow,
    make_move,
    make_scratch,
    make_states,
    state_of,
)
from volumetry.kernels.jit import borrowed, inlined, jit, part
from volumetry.kernels.philox import draw_weights, log_uniform, words
from volumetry.kernels.streams import DRAWS, EXCHANGE, MOVES, stream
from volumetry.networks import Network
from volumetry.weights.flips import draw_flips, flip


class Levels(NamedTuple):
    """How A and the number of correct test examples make a level.

    level = (A - base) * bins + (correct test examples) // width; with one bin, the test set is not
    looked at.

    Attributes:
        base: the lowest A.
        bins: bins of correct test examples.
        width: correct test examples of a bin.
    """

    base: int
    bins: int
    width: int


class Memory(NamedTuple):
    """The memory of one walker set: fixed inputs, and room for evaluations.

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


class Walkers(NamedTuple):
    """One walker set: a replica in each of W windows.

    Attributes:
        weights: int8 (W, n_weights).
        level: int64 (W): of each replica.
        replica: int64 (W): which replica is in a window.
        heading: int8 (W): -1 after a replica's visit to the lowest window, +1 after one to the
            highest that followed it, 0 before either.
        step: int64 (1 + W): rounds made so far, and moves in each window; with the seed, the
            whole random state.
    """

    weights: np.ndarray
    level: np.ndarray
    replica: np.ndarray
    heading: np.ndarray
    step: np.ndarray


class Windows(NamedTuple):
    """What the chain samples in each of W windows.

    Attributes:
        log_weight: float64 (W, levels): ln weight, -inf outside the window.
        low: int64 (W): the lowest A of the window, or with several bins its lowest bin.
        ln_f: float64 (W): what a visit subtracts from the weight; 0 keeps the weights fixed.
        interval: int64 (W): moves between such updates.
    """

    log_weight: np.ndarray
    low: np.ndarray
    ln_f: np.ndarray
    interval: np.ndarray


class Tally(NamedTuple):
    """What a run of the chain counts. All integers, so sums do not depend on their order.

    Attributes:
        visits: int64 (W, levels): moves after which a window was at a level.
        trace: int32 (W, rounds): level at the end of each round.
        changes: int64 (W, levels): moves that left a level for another.
        accepted: int64 (W).
        attempts, exchanges: int64 (W): with the next higher window.
        round_trips: int64 (W): of each replica, lowest to highest window and back.
        tests, test_sum: int64 (levels): test evaluations at a level, and correct test examples.
        test_counts: int64 (N + 1): how often each number of correct test examples was met at the
            highest level.
    """

    visits: np.ndarray
    trace: np.ndarray
    changes: np.ndarray
    accepted: np.ndarray
    attempts: np.ndarray
    exchanges: np.ndarray
    round_trips: np.ndarray
    tests: np.ndarray
    test_sum: np.ndarray
    test_counts: np.ndarray


def make_memory(
    network: Network, plan: Plan, test_plan: Plan, replicas: int, flips: int, bins: int = 1
) -> Memory:
    """Room for ``replicas`` walkers on the examples of ``plan``, and of ``test_plan`` if binned."""
    n, n_test = int(plan.n.sum()), int(test_plan.n.sum())
    return Memory(
        plan,
        make_states(network, n, replicas),
        make_move(network, flips),
        make_scratch(network, flips),
        test_plan,
        make_states(network, n_test, replicas if bins > 1 else 1, whole=bins > 1),
        make_scratch(network, flips),
    )


def make_walkers(network: Network, count: int) -> Walkers:
    """``count`` replicas, one a window, with weights still to be set."""
    return Walkers(
        np.ones((count, network.n_weights), np.int8),
        np.zeros(count, np.int64),
        np.arange(count),
        np.zeros(count, np.int8),
        np.zeros(1 + count, np.int64),
    )


def make_tally(windows: int, levels: int, n_test: int, rounds: int) -> Tally:
    """An empty tally."""
    return Tally(
        np.zeros((windows, levels), np.int64),
        np.zeros((windows, rounds), np.int32),
        np.zeros((windows, levels), np.int64),
        np.zeros(windows, np.int64),
        np.zeros(windows, np.int64),
        np.zeros(windows, np.int64),
        np.zeros(windows, np.int64),
        np.zeros(levels, np.int64),
        np.zeros(levels, np.int64),
        np.zeros(n_test + 1, np.int64),
    )


def start(memory: Memory, walkers: Walkers, levels: Levels) -> None:
    """Compute all values and the level of every replica from its weights."""
    for replica, weights in enumerate(walkers.weights):
        state = State(*(values[replica] for values in memory.states))
        level = initialise(memory.plan, state, memory.move, weights, memory.scratch) - levels.base
        if levels.bins > 1:
            state = State(*(values[replica] for values in memory.test_states))
            hits = initialise(memory.test_plan, state, memory.move, weights, memory.test_scratch)
            level = level * levels.bins + hits // levels.width
        walkers.level[replica] = level


def draw_uniform(memory, weights, seed, first, visits, tests, test_sum) -> None:
    """Uniform draws number ``first``, ``first + 1``, ...; one for each row of ``weights``.

    Fills ``weights`` (draws, n_weights), and counts A, and Q at A, of each.
    """
    state = State(*(values[0] for values in memory.states))
    test_state = State(*(values[0] for values in memory.test_states))
    test = memory.test_plan, test_state, memory.move
    for draw, row in enumerate(weights):
        draw_weights(seed, stream(DRAWS, 0), first + draw, row)
        correct = initialise(memory.plan, state, memory.move, row, memory.scratch)
        visits[correct] += 1
        tests[correct] += 1
        test_sum[correct] += initialise(*test, row, memory.test_scratch)


@jit
def run_rounds(
    memory, walkers, windows, tally, levels, seed, walker_set, moves, test_low, test_every
):
    """Run the chain: in each round ``moves[w]`` moves in window w, then exchanges and tests.

    A move that is rejected, or that leaves the window, counts the current level again. Exchanges
    join windows (0, 1), (2, 3), ... and (1, 2), (3, 4), ... in turn. Afterwards the test set is
    evaluated for every replica at a level of at least ``test_low``, and for all others every
    ``test_every`` rounds (never for 0); with several bins every move has evaluated it already, and
    ``test_low`` has to be beyond the levels and ``test_every`` 0.

    Args:
        seed: 64-bit key of the generator.
        walker_set: number of this walker set, part of every stream.
        moves: int64 (W).
    """
    n_windows, rounds = tally.trace.shape
    highest = tally.visits.shape[1] - 1
    for turn in range(rounds):
        number = walkers.step[0]
        for w in range(n_windows):
            own = stream(MOVES, w + n_windows * walker_set)
            _run_window(memory, walkers, windows, tally, levels, seed, own, w, moves[w])
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
                    memory.test_plan,
                    state_of(memory.test_states, 0),
                    memory.move,
                    walkers.weights[replica],
                    memory.test_scratch,
                )
                tally.tests[level] += 1
                tally.test_sum[level] += hits
                if level == highest:
                    tally.test_counts[hits] += 1


@part
def _run_window(memory, walkers, windows, tally, levels, seed, stream, w, moves):
    replica = walkers.replica[w]
    plan, state, move, scratch = borrow(
        memory.plan, state_of(memory.states, replica), memory.move, memory.scratch
    )
    weights = borrowed(walkers.weights[replica])
    log_weight = borrowed(windows.log_weight[w])
    visits, changes = borrowed(tally.visits[w]), borrowed(tally.changes[w])
    binned = levels.bins > 1
    test_state = state_of(memory.test_states, replica if binned else 0)
    test_plan, test_state, _, test_scratch = borrow(
        memory.test_plan, test_state, memory.move, memory.test_scratch
    )
    least = levels.base if binned else windows.low[w]
    least_hits = windows.low[w] * levels.width
    ln_f, interval = windows.ln_f[w], windows.interval[w]
    first = walkers.step[1 + w]
    level = walkers.level[replica]
    accepted = 0
    for step in range(first, first + moves):
        word = draw_flips(seed, stream, step, weights.size, move.flips)
        find_channels(plan, move)
        flip(weights, move.flips)
        correct = evaluate(plan, state, move, weights, scratch, least)
        proposed = correct - levels.base
        accept = correct >= least
        tested = accept and binned
        if tested:
            hits = _evaluate_test(test_plan, test_state, move, weights, test_scratch, least_hits)
            proposed = proposed * levels.bins + hits // levels.width
            accept = hits >= least_hits
        if accept and proposed != level:
            change = log_weight[proposed] - log_weight[level]
            accept = change >= 0 or log_uniform(word) < change
        if accept:
            commit(plan, state, move, scratch)
            if binned:
                commit(test_plan, test_state, move, test_scratch)
            accepted += 1
            if proposed != level:
                changes[level] += 1
                level = proposed
        else:
            revert(plan, state, move, scratch)
            if tested:
                _revert_test(test_plan, test_state, move, test_scratch)
            flip(weights, move.flips)
        visits[level] += 1
        if ln_f > 0 and step % interval == 0:
            log_weight[level] -= ln_f
    walkers.step[1 + w] += moves
    tally.accepted[w] += accepted
    walkers.level[replica] = level


@part
def _evaluate_test(plan, state, move, weights, scratch, least):
    """``evaluate`` behind a call: the test set is large, and merged twice it compiles slowly."""
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    weights = borrowed(weights)
    return evaluate(plan, state, move, weights, scratch, least)


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
