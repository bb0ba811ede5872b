"""Incremental evaluation of networks with real weights: what a few new incoming weights of one unit
change, and nothing else.

What outputs count, each class of plans says for itself (``judge``): here, examples that are right.

A move gives some incoming weights of a unit new values. Its pre-activations change by their
differences times the inputs; those of the next layer by weights times the change of what the unit
passes on; layers after that are computed in full. All values are float64 and are updated by
differences, so rounding adds up: ``initialise`` has to compute them anew now and then.

A move runs through ``propose``, ``evaluate``, and if it is accepted, ``commit`` and ``put``; a move
that is rejected has left nothing behind.
"""

from typing import NamedTuple

import numpy as np

from volumetry.engines.real_layers import add, layer_records, pass_unit
from volumetry.kernels.jit import borrowed, by_record, inlined, jit, part
from volumetry.kernels.philox import below, log_uniform, words
from volumetry.networks.real import ACTIVATIONS, TIE, RealNetwork
from volumetry.weights.real import RealWeights

_TWO_PI = 2 * np.pi


class RealPlan(NamedTuple):
    """The fixed part of an evaluation: a network and a set of n examples.

    Attributes:
        layers: ``RealLayer`` of each.
        x: float64 (values, n): what the first layer sees.
        label: int64 (n,).
        activation: number of it, after every layer but the last.
        logit_scale: of the network.
        scale: float32 (n_weights,): of each weight's prior.
        uniform: whether priors are uniform, else normal.
    """

    layers: np.ndarray
    x: np.ndarray
    label: np.ndarray
    activation: int
    logit_scale: float
    scale: np.ndarray
    uniform: bool


class RealState(NamedTuple):
    """The values of a network on the examples, or of several, one after the other.

    Attributes:
        sums: float64 (rows, n): pre-activations of all layers, the last of which are logits.
        values: float64 (rows, n): what units pass on, not used of the logits; then room for what
            one unit does.
    """

    sums: np.ndarray
    values: np.ndarray


class RealMove(NamedTuple):
    """A proposal.

    Attributes:
        place: int64 (4,): its layer, unit of that layer, first weight of the unit that changes,
            and how many do, one after the other and from the last to the first.
        new: float32 (most,): new values of these weights.
    """

    place: np.ndarray
    new: np.ndarray


def make_real_plan(network: RealNetwork, x: np.ndarray, y: np.ndarray) -> RealPlan:
    """Lay out examples: x (n, *input_shape), labels y (n,)."""
    laid = laid_out(network, network.seen(x))
    return RealPlan(label=np.asarray(y, np.int64), logit_scale=network.logit_scale, **laid)


def laid_out(network: RealNetwork, x: np.ndarray) -> dict:
    """What all plans have: a network, and what its first layer sees, float64 (n, values)."""
    return {
        "layers": layer_records(network),
        "x": np.ascontiguousarray(x.T),
        "activation": ACTIVATIONS.index(network.activation),
        "scale": network.space.scale,
        "uniform": network.space.prior == "uniform",
    }


def make_real_state(network: RealNetwork, n: int, count: int | None = None) -> RealState:
    """Room for the values of a network on n examples, or of ``count`` of them."""
    before = () if count is None else (count,)
    values = network.n_values + network.spare
    return RealState(np.zeros((*before, network.n_sums, n)), np.zeros((*before, values, n)))


def make_real_move(most: int) -> RealMove:
    """Room for proposals that change so many weights at most."""
    return RealMove(np.zeros(4, np.int64), np.zeros(most, np.float32))


@jit
def draw_weights(seed, stream, step, scale, uniform, out):
    """Fill float32 ``out`` with draws from the priors of scales ``scale``."""
    for block in range((out.size + 3) // 4):
        w = words(seed, stream, step, block)
        for pair in range(2):
            one, two = _deviates(w[2 * pair], w[2 * pair + 1], uniform)
            at = 4 * block + 2 * pair
            if at < out.size:
                out[at] = np.float32(one * scale[at])
            if at + 1 < out.size:
                out[at + 1] = np.float32(two * scale[at + 1])


def drawn_weights(space: RealWeights, seed: np.uint64, stream: int, step: int) -> np.ndarray:
    """Weights drawn from the prior: float32 (n_weights,)."""
    weights = np.empty(space.size, space.dtype)
    draw_weights(seed, stream, step, space.scale, space.prior == "uniform", weights)
    return weights


@inlined
def wins(right, other, logit_scale):
    """Whether the logit of the label exceeds the largest other one by more than a tie."""
    return right - other > TIE * (abs(right) + abs(other) + logit_scale)


@inlined
def _deviates(a, b, uniform):
    """Two independent deviates from two words: standard normal (Box & Muller 1958,
    doi:10.1214/aoms/1177706645), or uniform on (-1, 1)."""
    if uniform:
        return _symmetric(a), _symmetric(b)
    radius = np.sqrt(-2 * log_uniform(a))
    angle = _TWO_PI * (np.float64(b) + 0.5) * 2.0**-32
    return radius * np.cos(angle), radius * np.sin(angle)


@inlined
def _symmetric(word):
    return (np.float64(word) + 0.5) * 2.0**-31 - 1


@inlined
def propose(plan, weights, kind, far, seed, stream, step, move):
    """Draw a move of a kind: first weight, number of weights, how many change; ``far``: its step b.

    With a normal prior, w' = sqrt(1 - b^2) w + b xi, which keeps it (preconditioned Crank-Nicolson:
    Cotter, Roberts, Stuart & White 2013, doi:10.1214/13-STS421); with a uniform one, a step of up
    to b, reflected at the ends. Returns a spare word.
    """
    word, spare, _, _ = words(seed, stream, step, 0)
    position = kind[0] + below(word, kind[1])
    layer = 0
    while layer + 1 < plan.layers.size and position >= plan.layers[layer + 1].first_weight:
        layer += 1
    own = plan.layers[layer]
    unit = (position - own.first_weight) // own.fan_in
    start = (position - own.first_weight) % own.fan_in
    count = min(kind[2], own.fan_in)
    move.place[0], move.place[1], move.place[2], move.place[3] = layer, unit, start, count
    first = own.first_weight + unit * own.fan_in
    kept = np.sqrt(1 - far * far)
    for t in range(0, count, 2):
        if t % 4 == 0:
            w = words(seed, stream, step, 1 + t // 4)
        one, two = _deviates(w[t % 4], w[t % 4 + 1], plan.uniform)
        for s in range(2):
            if t + s < count:
                at = first + (start + t + s) % own.fan_in
                scale = np.float64(plan.scale[at])
                change = far * scale * (one if s == 0 else two)
                if plan.uniform:
                    value = weights[at] + change
                    if value > scale:
                        value = 2 * scale - value
                    elif value < -scale:
                        value = -2 * scale - value
                else:
                    value = kept * weights[at] + change
                move.new[t + s] = np.float32(value)
    return spare


@by_record
def judge(plan, state):
    """What the outputs of a network count, from its values: an integer from 0."""


@inlined
def evaluate(plan, state, move, weights, scratch):
    """What a network counts after a move; new values go to ``scratch``."""
    layer, unit, start, count = move.place[0], move.place[1], move.place[2], move.place[3]
    own = plan.layers[layer]
    row = own.first_sum + unit * own.positions
    first = own.first_weight + unit * own.fan_in
    sums, new_sums = borrowed(state.sums), borrowed(scratch.sums)
    for p in range(own.positions):
        new_sums[row + p] = sums[row + p]
    source, seen = borrowed(plan.x), 0
    if layer > 0:
        source, seen = borrowed(state.values), plan.layers[layer - 1].first_value
    for t in range(count):
        number = (start + t) % own.fan_in
        change = np.float64(move.new[t]) - np.float64(weights[first + number])
        add(own, number, change, source, seen, new_sums, row)
    last = plan.layers.size - 1
    if layer == last:
        for v in range(own.outputs):
            if v != unit:
                scratch.sums[own.first_sum + v] = state.sums[own.first_sum + v]
    else:
        value = own.first_value + unit * own.places
        pass_unit(own, new_sums, row, borrowed(scratch.values), value, plan.activation)
        _change_next(plan, state, scratch, weights, layer, unit, value)
        _pass_on(plan, scratch, layer + 1)
        for later in range(layer + 2, plan.layers.size):
            _in_full(plan, scratch, weights, later)
    return judge(plan, scratch)


@inlined
def _change_next(plan, state, scratch, weights, layer, unit, value):
    """New pre-activations of the layer after a unit whose values, from a row on, are new."""
    sums, new_sums = borrowed(state.sums), borrowed(scratch.sums)
    values, new_values = borrowed(state.values), borrowed(scratch.values)
    own, after = plan.layers[layer], plan.layers[layer + 1]
    n, room = plan.x.shape[1], new_values.shape[0] - own.places  # for the changes
    for p in range(own.places):
        for e in range(n):
            new_values[room + p, e] = new_values[value + p, e] - values[value + p, e]
    for v in range(after.outputs):
        row = after.first_sum + v * after.positions
        first = after.first_weight + v * after.fan_in + unit * after.from_one
        if after.kernel == 0:
            weight = np.float64(weights[first])
            for e in range(n):
                new_sums[row, e] = sums[row, e] + weight * new_values[room, e]
            for i in range(1, after.from_one):
                weight = np.float64(weights[first + i])
                for e in range(n):
                    new_sums[row, e] += weight * new_values[room + i, e]
        else:
            for p in range(after.positions):
                new_sums[row + p] = sums[row + p]
            for i in range(after.from_one):
                weight = np.float64(weights[first + i])
                add(after, i, weight, new_values, room, new_sums, row)


@inlined
def _pass_on(plan, state, layer):
    """What the units of a layer pass on, from their pre-activations."""
    if layer < plan.layers.size - 1:
        own = plan.layers[layer]
        sums, values = borrowed(state.sums), borrowed(state.values)
        for v in range(own.outputs):
            row, value = own.first_sum + v * own.positions, own.first_value + v * own.places
            pass_unit(own, sums, row, values, value, plan.activation)


@inlined
def _in_full(plan, state, weights, layer):
    """Compute a layer from what the layer before it passes on."""
    own = plan.layers[layer]
    sums = borrowed(state.sums)
    source, seen = borrowed(plan.x), 0
    if layer > 0:
        source, seen = borrowed(state.values), plan.layers[layer - 1].first_value
    for v in range(own.outputs):
        row = own.first_sum + v * own.positions
        for p in range(own.positions):
            sums[row + p] = 0.0
        for number in range(own.fan_in):
            weight = np.float64(weights[own.first_weight + v * own.fan_in + number])
            add(own, number, weight, source, seen, sums, row)
    _pass_on(plan, state, layer)


@judge.of(RealPlan)
def _count_correct(plan, state):
    # Class by class, for vectors of examples. The last layer passes nothing on: two of its rows
    # have room for the logit of the label and for the largest of the others.
    own = plan.layers[plan.layers.size - 1]
    sums, label = borrowed(state.sums), borrowed(plan.label)
    right = borrowed(state.values[own.first_value])
    other = borrowed(state.values[own.first_value + 1])
    other[:] = -np.inf
    for v in range(own.outputs):
        row = own.first_sum + v
        for e in range(label.size):
            logit, is_own = sums[row, e], label[e] == v
            right[e] = logit if is_own else right[e]
            other[e] = other[e] if is_own or logit < other[e] else logit
    correct = 0
    for e in range(label.size):
        correct += wins(right[e], other[e], plan.logit_scale)
    return correct


@inlined
def put(plan, move, weights):
    """Give the weights of a move their new values."""
    layer, unit, start, count = move.place[0], move.place[1], move.place[2], move.place[3]
    own = plan.layers[layer]
    first = own.first_weight + unit * own.fan_in
    for t in range(count):
        weights[first + (start + t) % own.fan_in] = move.new[t]


@part
def gain(plan, move, weights, toward):
    """What a move, which is not yet in ``weights``, would add to w . toward."""
    layer, unit, start, count = move.place[0], move.place[1], move.place[2], move.place[3]
    own = plan.layers[layer]
    first = own.first_weight + unit * own.fan_in
    total = 0.0
    for t in range(count):
        at = first + (start + t) % own.fan_in
        total += (np.float64(move.new[t]) - np.float64(weights[at])) * np.float64(toward[at])
    return total


@inlined
def commit(plan, state, move, scratch):
    """Make the candidate of the last ``evaluate`` current; its weights are for ``put``."""
    layer, unit = move.place[0], move.place[1]
    own = plan.layers[layer]
    row, value = own.first_sum + unit * own.positions, own.first_value + unit * own.places
    for p in range(own.positions):
        state.sums[row + p] = scratch.sums[row + p]
    for p in range(own.places):
        state.values[value + p] = scratch.values[value + p]
    if layer < plan.layers.size - 1:
        after = plan.layers[layer + 1]
        state.sums[after.first_sum :] = scratch.sums[after.first_sum :]
        last = plan.layers[plan.layers.size - 1].first_value
        state.values[after.first_value : last] = scratch.values[after.first_value : last]


@jit
def initialise(plan, state, weights):
    """Compute all values of a network from its weights; returns what it counts."""
    for layer in range(plan.layers.size):
        _in_full(plan, state, weights, layer)
    return judge(plan, state)
