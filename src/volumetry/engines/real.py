"""Incremental evaluation of networks with real weights: what a few new incoming weights of one unit
change, and nothing else.

What outputs count, each class of plans says for itself (``judge``): here, examples that are right.

A move gives some incoming weights of a unit new values. Its pre-activation changes by their
differences times the inputs; each unit of the next layer by one weight times the change of what the
unit passes on; layers after that are computed in full. All values are float64 and are updated by
differences, so rounding adds up: ``initialise`` has to compute them anew now and then.

A move runs through ``propose``, ``evaluate``, and if it is accepted, ``commit`` and ``put``; a move
that is rejected has left nothing behind.
"""

from typing import NamedTuple

import numpy as np

from volumetry.kernels.jit import borrowed, by_record, inlined, jit, part
from volumetry.kernels.philox import below, log_uniform, words
from volumetry.networks.real import ACTIVATIONS, LEAK, TIE, RealNetwork
from volumetry.weights.real import RealWeights

_LINEAR, _RELU, _TANH, _LEAKY = range(len(ACTIVATIONS))
_TWO_PI = 2 * np.pi


class RealLayer(NamedTuple):
    """What kernels know of a linear layer.

    Attributes:
        inputs, fan_in, outputs: inputs, incoming weights of a unit (with its bias), and units.
        first_weight, first_row: how many weights, and units, the layers before it have.
    """

    inputs: int
    fan_in: int
    outputs: int
    first_weight: int
    first_row: int


_LAYER = np.dtype([(name, np.int64) for name in RealLayer._fields], align=True)


class RealPlan(NamedTuple):
    """The fixed part of an evaluation: a network and a set of n examples.

    Attributes:
        layers: ``RealLayer`` of each.
        x: float64 (inputs + 1, n): what the first layer sees, then ones, for biases.
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
        sums: float64 (units, n): pre-activations of all layers, the last of which are logits.
        values: float64 (units, n): what units pass on; not used of the logits.
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
    """What all plans have: a network, and what its first layer sees, float64 (n, inputs)."""
    layers, units = [], 0
    for layer, segment in zip(network.linears, network.segments):
        layers.append((layer.inputs, layer.fan_in, layer.outputs, segment.first, units))
        units += layer.outputs
    return {
        "layers": np.array(layers, _LAYER),
        "x": np.ascontiguousarray(np.vstack([x.T, np.ones((1, len(x)))])),
        "activation": ACTIVATIONS.index(network.activation),
        "scale": network.space.scale,
        "uniform": network.space.prior == "uniform",
    }


def make_real_state(network: RealNetwork, n: int, count: int | None = None) -> RealState:
    """Room for the values of a network on n examples, or of ``count`` of them."""
    shape = (network.n_units, n) if count is None else (count, network.n_units, n)
    return RealState(np.zeros(shape), np.zeros(shape))


def make_real_move(most: int) -> RealMove:
    """Room for proposals that change so many weights at most."""
    return RealMove(np.zeros(4, np.int64), np.zeros(most, np.float32))


@inlined
def pass_row(sums, values, activation):
    """What a unit passes on, example by example."""
    if activation == _RELU:
        for e in range(sums.size):
            values[e] = max(sums[e], 0.0)
    elif activation == _TANH:
        for e in range(sums.size):
            values[e] = np.tanh(sums[e])
    elif activation == _LEAKY:
        for e in range(sums.size):
            values[e] = max(sums[e], LEAK * sums[e])
    else:
        values[:] = sums


@inlined
def _incoming(plan, state, layer, number):
    """What an incoming weight of a layer multiplies: (n,)."""
    own = plan.layers[layer]
    if number == own.inputs:
        return plan.x[plan.x.shape[0] - 1]
    if layer == 0:
        return plan.x[number]
    return state.values[plan.layers[layer - 1].first_row + number]


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
    row = own.first_row + unit
    n = plan.x.shape[1]
    first = own.first_weight + unit * own.fan_in
    sums, new_sums = borrowed(state.sums), borrowed(scratch.sums)
    new = borrowed(new_sums[row])
    new[:] = sums[row]
    for t in range(count):
        number = (start + t) % own.fan_in
        change = np.float64(move.new[t]) - np.float64(weights[first + number])
        source = borrowed(_incoming(plan, state, layer, number))
        for e in range(n):
            new[e] += change * source[e]
    last = plan.layers.size - 1
    if layer == last:
        for v in range(own.outputs):
            if v != unit:
                scratch.sums[own.first_row + v] = state.sums[own.first_row + v]
    else:
        passed, before = borrowed(scratch.values[row]), borrowed(state.values[row])
        pass_row(new, passed, plan.activation)
        after = plan.layers[layer + 1]
        change_of = borrowed(scratch.values[plan.layers[last].first_row])  # free until the count
        for e in range(n):
            change_of[e] = passed[e] - before[e]
        for v in range(after.outputs):
            weight = np.float64(weights[after.first_weight + v * after.fan_in + unit])
            target = after.first_row + v
            for e in range(n):
                new_sums[target, e] = sums[target, e] + weight * change_of[e]
        _pass_on(plan, scratch, layer + 1)
        for later in range(layer + 2, plan.layers.size):
            _in_full(plan, scratch, weights, later)
    return judge(plan, scratch)


@inlined
def _pass_on(plan, state, layer):
    """What the units of a layer pass on, from their pre-activations."""
    if layer < plan.layers.size - 1:
        own = plan.layers[layer]
        for row in range(own.first_row, own.first_row + own.outputs):
            pass_row(state.sums[row], state.values[row], plan.activation)


@inlined
def _in_full(plan, state, weights, layer):
    """Compute a layer from what the layer before it passes on."""
    own = plan.layers[layer]
    for v in range(own.outputs):
        target = state.sums[own.first_row + v]
        target[:] = 0.0
        for number in range(own.fan_in):
            weight = np.float64(weights[own.first_weight + v * own.fan_in + number])
            source = _incoming(plan, state, layer, number)
            for e in range(plan.x.shape[1]):
                target[e] += weight * source[e]
    _pass_on(plan, state, layer)


@judge.of(RealPlan)
def _count_correct(plan, state):
    # Class by class, for vectors of examples. The last layer passes nothing on: two of its rows
    # have room for the logit of the label and for the largest of the others.
    own = plan.layers[plan.layers.size - 1]
    sums, label = borrowed(state.sums), borrowed(plan.label)
    right, other = borrowed(state.values[own.first_row]), borrowed(state.values[own.first_row + 1])
    other[:] = -np.inf
    for v in range(own.outputs):
        row = own.first_row + v
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
    row = own.first_row + unit
    state.sums[row] = scratch.sums[row]
    state.values[row] = scratch.values[row]
    if layer < plan.layers.size - 1:
        after = plan.layers[layer + 1].first_row
        state.sums[after:] = scratch.sums[after:]
        state.values[after:] = scratch.values[after:]


@jit
def initialise(plan, state, weights):
    """Compute all values of a network from its weights; returns what it counts."""
    for layer in range(plan.layers.size):
        _in_full(plan, state, weights, layer)
    return judge(plan, state)
