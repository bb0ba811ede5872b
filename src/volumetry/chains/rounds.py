"""Rounds of the chain on a CPU: compiled loops over windows, moves and members."""

from typing import NamedTuple

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
from volumetry.kernels.philox import log_uniform, words
from volumetry.kernels.streams import EXCHANGE, KINDS, MOVES, stream
from volumetry.systems.classification import Classification
from volumetry.weights.flips import draw_flips, draw_kind, flip, gain, shift


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
def observe(buffers, weights, levels, replica, tested):
    """Level and test score of weights; their values become those of ``replica``.

    Without ``tested``, a replica whose level knows nothing of the test set has a score of 0.
    """
    state = state_of(buffers.states, replica)
    correct = initialise(buffers.plan, state, buffers.move, weights, buffers.scratch)
    binned, score = levels.bins > 1, 0
    if binned or tested:
        state = state_of(buffers.test_states, replica if binned else 0)
        score = initialise(buffers.test_plan, state, buffers.move, weights, buffers.test_scratch)
    return correct * levels.bins + (score // levels.width if binned else 0), score


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


@jit
def relax_members(
    buffers,
    weights,
    level,
    trace,
    walkers,
    windows,
    tally,
    levels,
    seed,
    first,
    moves,
    test_low,
    test_every,
    pull,
):
    """Run members of a population, each as a walker set of one window, one after another.

    Args:
        weights: int8 (members, n_weights): where they start, and end.
        level, trace: (members), (members, rounds): what is to be filled in.
        walkers, tally: of a set of one window; the walker before its first move.
        first: number of the first member's walker set.
    """
    step = walkers.step[0]
    for r in range(len(weights)):
        walkers.level[0], _ = observe(buffers, weights[r], levels, 0, False)
        walkers.step[:] = step
        run_rounds(
            buffers,
            weights[r : r + 1],
            walkers,
            windows,
            tally,
            levels,
            seed,
            first + r,
            moves,
            test_low,
            test_every,
            pull,
        )
        level[r] = walkers.level[0]
        trace[r] = tally.trace[0]


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
