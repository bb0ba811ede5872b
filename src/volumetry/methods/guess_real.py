"""Guess & Check on real weights: ``guess_and_check`` has the search, this the guesses.

All weights of a guess are drawn from the prior; it is dropped at its first wrong example.
"""

from typing import NamedTuple

import numpy as np

from volumetry.engines.real import draw_weights, make_real_plan, pass_row
from volumetry.kernels.jit import borrowed, jit
from volumetry.kernels.streams import GUESSES, stream
from volumetry.networks.real import TIE, RealNetwork


class _Sheet(NamedTuple):
    """What guesses are checked against.

    Attributes:
        layers, label, activation, logit_scale, scale, uniform: as in ``engines.real.RealPlan``.
        x: float64 (n, inputs): what the first layer sees.
    """

    layers: np.ndarray
    label: np.ndarray
    activation: int
    logit_scale: float
    scale: np.ndarray
    uniform: bool
    x: np.ndarray


def guessed_weights(network: RealNetwork, seed: int, guess: int) -> np.ndarray:
    """Weights of a guess: float32 (n_weights,)."""
    space = network.space
    weights = np.empty(space.size, np.float32)
    uniform = space.prior == "uniform"
    draw_weights(np.uint64(seed), stream(GUESSES, 0), guess, space.scale, uniform, weights)
    return weights


class RealChecker:
    """A network and its training set, laid out for checking guesses."""

    def __init__(self, network: RealNetwork, x: np.ndarray, y: np.ndarray):
        """Take examples x (n, *input_shape) with labels y (n,)."""
        plan = make_real_plan(network, x, y)
        self._sheet = _Sheet(
            plan.layers,
            plan.label,
            plan.activation,
            plan.logit_scale,
            plan.scale,
            plan.uniform,
            network.seen(x),
        )
        self._width = max(layer.outputs for layer in network.linears)
        self._size = network.n_weights

    def check(self, seed: int, first: int, stop: int) -> np.ndarray:
        """Those of the guesses first..stop - 1 that fit all examples, ascending."""
        weights, values = np.empty(self._size, np.float32), np.empty((3, self._width))
        found = np.empty(stop - first, np.int64)
        return found[: _check(self._sheet, weights, values, np.uint64(seed), first, stop, found)]


@jit
def _check(sheet, weights, values, seed, first, stop, found):
    """List those of the guesses first..stop - 1 that fit in ``found``; returns how many."""
    count, n = 0, sheet.label.size
    for guess in range(first, stop):
        draw_weights(seed, stream(GUESSES, 0), guess, sheet.scale, sheet.uniform, weights)
        e = 0
        while e < n and _is_right(sheet, weights, values, e):
            e += 1
        if e == n:
            found[count] = guess
            count += 1
    return count


@jit
def _is_right(sheet, weights, values, e):
    """Whether a guess classifies an example correctly; ``values`` is room for three layers."""
    weights, source = borrowed(weights), borrowed(sheet.x[e])
    sums, last = borrowed(values[2]), sheet.layers.size - 1
    for layer in range(last + 1):
        own = sheet.layers[layer]
        for unit in range(own.outputs):
            first = own.first_weight + unit * own.fan_in
            total = 0.0
            for i in range(own.inputs):
                total += weights[first + i] * source[i]
            if own.fan_in > own.inputs:
                total += weights[first + own.inputs]
            sums[unit] = total
        if layer < last:
            target = borrowed(values[layer % 2])
            pass_row(sums[: own.outputs], target[: own.outputs], sheet.activation)
            source = target
    right, other = sums[sheet.label[e]], -np.inf
    for k in range(sheet.layers[last].outputs):
        if k != sheet.label[e]:
            other = max(other, sums[k])
    return right - other > TIE * (abs(right) + abs(other) + sheet.logit_scale)
