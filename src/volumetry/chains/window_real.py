"""Walkers with real weights: room for their evaluations, and moves in a window."""

from typing import NamedTuple

import numpy as np

from volumetry.chains.rounds import run_window, test_score, train_score
from volumetry.engines.real import (
    RealMove,
    RealPlan,
    RealState,
    commit,
    drawn_weights,
    evaluate,
    gain,
    initialise,
    make_real_move,
    make_real_plan,
    make_real_state,
    propose,
    put,
)
from volumetry.engines.sensing import SensingPlan, make_sensing_plan
from volumetry.kernels.jit import borrowed, inlined
from volumetry.kernels.philox import log_uniform
from volumetry.kernels.streams import KINDS, MOVES, stream
from volumetry.systems.classification import Classification
from volumetry.systems.sensing import Sensing
from volumetry.weights.flips import draw_kind

REFRESH = 10_000
"""Moves of a window after which all values are computed anew: rounding adds up to 1e-12 by then."""


Measured = RealPlan | SensingPlan
"""What kernels know of that which weights are measured on."""


class RealBuffers(NamedTuple):
    """Room for the evaluations of one walker set, and what they are made on.

    Attributes:
        plan, states: the training set; states lead with the replica.
        move: what is proposed.
        scratch: the values of what is proposed.
        test_plan, test_states, test_scratch: the test set; states of all replicas if levels have
            more than one bin, else of one.
    """

    plan: Measured
    states: RealState
    move: RealMove
    scratch: RealState
    test_plan: Measured
    test_states: RealState
    test_scratch: RealState


def plans_of(system: Classification | Sensing) -> tuple[Measured, Measured]:
    """What a level and a test score are measured on, laid out."""
    p = system.problem
    if isinstance(system, Sensing):
        return (
            make_sensing_plan(p.network, p.matrices, p.values, system.edges, p.norm),
            make_sensing_plan(p.network, p.basis, p.basis_values, system.score_edges, p.norm),
        )
    return (
        make_real_plan(p.network, p.x_train, p.y_train),
        make_real_plan(p.network, p.x_test, p.y_test),
    )


def make_buffers(
    system: Classification | Sensing, plan: Measured, test_plan: Measured, replicas: int, most: int
) -> RealBuffers:
    """Room for ``replicas`` walkers on the examples of ``plan``, and of ``test_plan`` if binned."""
    network, binned = system.problem.network, system.levels.bins > 1
    n, n_test = plan.x.shape[1], test_plan.x.shape[1]
    return RealBuffers(
        plan,
        make_real_state(network, n, replicas),
        make_real_move(most),
        _first(make_real_state(network, n, 1)),
        test_plan,
        make_real_state(network, n_test, replicas if binned else 1),
        _first(make_real_state(network, n_test, 1)),
    )


def _first(states: RealState) -> RealState:
    return RealState(*(values[0] for values in states))


def draw(system: Classification | Sensing, seed: np.uint64, stream: int, number: int) -> np.ndarray:
    """Weights drawn from the prior: float32 (n_weights,)."""
    return drawn_weights(system.space, seed, stream, number)


@inlined
def _state_of(states, replica):
    return RealState(borrowed(states.sums[replica]), borrowed(states.values[replica]))


@train_score.of(RealBuffers)
def _train_score(buffers, weights, replica):
    return initialise(buffers.plan, _state_of(buffers.states, replica), weights)


@test_score.of(RealBuffers)
def _test_score(buffers, weights, replica):
    return initialise(buffers.test_plan, _state_of(buffers.test_states, replica), weights)


@run_window.of(RealBuffers)
def _run_window(buffers, weights, walkers, windows, tally, levels, seed, place, w, moves, pull):
    replica = walkers.replica[w]
    plan, move, scratch = buffers.plan, buffers.move, buffers.scratch
    state = _state_of(buffers.states, replica)
    weights = borrowed(weights[replica])
    binned = levels.bins > 1
    test_plan, test_scratch = buffers.test_plan, buffers.test_scratch
    test_state = _state_of(buffers.test_states, replica if binned else 0)
    log_weight = borrowed(windows.log_weight[w])
    toward, strength = borrowed(pull.toward), pull.strength
    pulled = toward.size > 0
    visits, changes = borrowed(tally.visits[w]), borrowed(tally.changes[w])
    kinds, until = borrowed(windows.mixture.kinds), borrowed(windows.mixture.until[w])
    steps = borrowed(windows.mixture.steps)
    proposed_of, accepted_of = borrowed(tally.proposed[w]), borrowed(tally.accepted[w])
    ln_f, interval, least = windows.ln_f[w], windows.interval[w], windows.low[w]
    first = walkers.step[1 + w]
    level = walkers.level[replica]
    for step in range(first, first + moves):
        if step % REFRESH == 0:
            initialise(plan, state, weights)
            if binned:
                initialise(test_plan, test_state, weights)
        kind = draw_kind(seed, stream(KINDS, place), step, until)
        word = propose(
            plan, weights, kinds[kind], steps[kind], seed, stream(MOVES, place), step, move
        )
        proposed = evaluate(plan, state, move, weights, scratch)
        accept = proposed >= least
        if accept and binned:
            hits = evaluate(test_plan, test_state, move, weights, test_scratch)
            proposed = proposed * levels.bins + hits // levels.width
        if accept and (proposed != level or pulled):
            change = log_weight[proposed] - log_weight[level]
            if pulled:
                change += strength * gain(plan, move, weights, toward)
            accept = change >= 0 or log_uniform(word) < change
        if accept:
            if binned:
                commit(test_plan, test_state, move, test_scratch)
            commit(plan, state, move, scratch)
            put(plan, move, weights)
            accepted_of[kind] += 1
            if proposed != level:
                changes[level] += 1
                level = proposed
        visits[level] += 1
        proposed_of[kind] += 1
        if ln_f > 0 and step % interval == 0:
            log_weight[level] -= ln_f
    walkers.step[1 + w] += moves
    walkers.level[replica] = level
