"""Incremental exact evaluation: what a few flipped weights change, and nothing else.

One flipped weight of a linear layer changes one pre-activation, by twice an input of that layer;
one flipped weight of a convolution recomputes one channel. What follows downstream is updated by
differences. All sums are exact integers, sized by the network's proven bound.

A move runs through

    find_channels(plan, move)
    flip(weights, move.flips)
    evaluate(plan, state, move, weights, scratch, least)

and ends with ``commit``, or with ``revert`` and another ``flip``. Nearly every move is made by
``direct``, any other by ``general``.

The logits carry +1 where their class is lower than the label: a tie with a lower class then loses,
as the rule of the lowest class wants, and an example is correct exactly when its own logit is the
largest.
"""

import numpy as np

from volumetry.engines import direct, general
from volumetry.engines.layout import GROUP, Move, borrow
from volumetry.kernels.jit import inlined, jit


@inlined
def find_channels(plan, move):
    """Mark the channels that the flips of ``move`` change."""
    flips, channels = move.flips, move.channels
    stages = plan.stages
    n_stages = stages.size
    if move.first_stage[0] < n_stages:
        for c in range(channels.size):
            channels[c] = 0
    first_stage = n_stages
    for t in range(flips.size):
        if flips[t] >= plan.linears[0].first_weight:
            break
        s = n_stages - 1
        while flips[t] < stages[s].first_weight:
            s -= 1
        channel = (flips[t] - stages[s].first_weight) // (9 * stages[s].c_in)
        channels[stages[s].first_channel + channel] = 1
        first_stage = min(first_stage, s)
    move.first_stage[0] = first_stage
    for s in range(first_stage + 1, n_stages):
        for c in range(stages[s].c_out):
            channels[stages[s].first_channel + c] = 1


@inlined
def evaluate(plan, state, move, weights, scratch, least):
    """Evaluate a move whose flips are already in ``weights``.

    Afterwards exactly one of ``commit`` and ``revert`` has to follow.

    Args:
        least: the smallest number of correct examples of interest.

    Returns:
        Number of examples classified correctly, or -1 as soon as it cannot reach ``least``.
    """
    if not _is_direct(plan, move):
        return general.evaluate(plan, state, move, weights, scratch, least)
    return direct.evaluate(plan, state, move, weights, scratch, least)


@inlined
def commit(plan, state, move, scratch):
    """Make the candidate of the last ``evaluate``, with the same scratch, current."""
    channels, units, n_units = move.channels, scratch.units, scratch.n_units
    map_side, sum_side = state.map_side, state.sum_side
    if move.first_stage[0] < plan.stages.size:
        for c in range(channels.size):
            map_side[c] ^= channels[c]
    for layer in range(plan.linears.size - 1):
        for u in range(n_units[layer]):
            sum_side[units[layer, u]] ^= np.uint8(1)


@inlined
def revert(plan, state, move, scratch):
    """Take the last ``evaluate`` back, with the same scratch."""
    if not _is_direct(plan, move):
        general.revert(plan, state, move, scratch)
    else:
        direct.revert(plan, state, move, scratch)


@jit
def initialise(plan, state, move, weights, scratch):
    """Compute all values of a walker from its weights; returns the number correct.

    A full evaluation is a move of everything, away from nothing.
    """
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    state.map_side[:] = 0
    state.sum_side[:] = 0
    move.channels[:] = 1
    move.first_stage[0] = -1
    everything = Move(move.flips[:0], move.channels, move.first_stage)
    none = np.int64(0)  # not a literal, for which all would be compiled once more
    correct = general.evaluate(plan, state, everything, weights, scratch, none)
    commit(plan, state, everything, scratch)
    return correct


@inlined
def _is_direct(plan, move):
    """Whether the flips reach the logits through one hidden layer at most, by ``GROUP`` changes."""
    few = move.flips.size <= GROUP and plan.linears.size <= 2
    return few and move.first_stage[0] == plan.stages.size
