"""Walkers with weights in {-1, +1}: room for their evaluations, and moves in a window."""

from typing import NamedTuple

import numpy as np

from volumetry.chains.rounds import run_window, test_score, train_score
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
from volumetry.kernels import philox
from volumetry.kernels.jit import borrowed, part
from volumetry.kernels.philox import log_uniform
from volumetry.kernels.streams import KINDS, MOVES, stream
from volumetry.systems.classification import Classification
from volumetry.weights.flips import draw_flips, draw_kind, flip, gain, shift


class BinaryBuffers(NamedTuple):
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


def plans_of(system: Classification) -> tuple[Plan, Plan]:
    """The examples of training and test set, laid out."""
    p = system.problem
    return make_plan(p.network, p.x_train, p.y_train), make_plan(p.network, p.x_test, p.y_test)


def make_buffers(
    system: Classification, plan: Plan, test_plan: Plan, replicas: int, flips: int
) -> BinaryBuffers:
    """Room for ``replicas`` walkers on the examples of ``plan``, and of ``test_plan`` if binned."""
    network, binned = system.problem.network, system.levels.bins > 1
    n, n_test = int(plan.n.sum()), int(test_plan.n.sum())
    return BinaryBuffers(
        plan,
        make_states(network, n, replicas),
        make_move(network, flips),
        make_scratch(network, flips),
        test_plan,
        make_states(network, n_test, replicas if binned else 1, whole=binned),
        make_scratch(network, flips),
    )


def draw(system: Classification, seed: np.uint64, stream: int, number: int) -> np.ndarray:
    """Uniform weights: int8 (n_weights,)."""
    weights = np.empty(system.space.size, np.int8)
    philox.draw_weights(seed, stream, number, weights)
    return weights


@train_score.of(BinaryBuffers)
def _train_score(buffers, weights, replica):
    state = state_of(buffers.states, replica)
    return initialise(buffers.plan, state, buffers.move, weights, buffers.scratch)


@test_score.of(BinaryBuffers)
def _test_score(buffers, weights, replica):
    state = state_of(buffers.test_states, replica)
    return initialise(buffers.test_plan, state, buffers.move, weights, buffers.test_scratch)


@run_window.of(BinaryBuffers)
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
