"""Guess & Check on real weights: ``guess_and_check`` has the search, this the guesses.

All weights of a guess are drawn from the prior; it is dropped at its first wrong example.
"""

import numpy as np

from volumetry.engines.real import draw_weights, make_real_plan, wins
from volumetry.engines.real_layers import pass_row
from volumetry.kernels.jit import borrowed, inlined, jit, part
from volumetry.kernels.streams import GUESSES, stream
from volumetry.networks.real import RealNetwork


class RealChecker:
    """A network and its training set, laid out for checking guesses."""

    def __init__(self, network: RealNetwork, x: np.ndarray, y: np.ndarray):
        """Take examples x (n, *input_shape) with labels y (n,)."""
        self._plan, self._x = make_real_plan(network, x, y), network.seen(x)
        self._width = max(own.outputs * own.positions for own in network.layers_with_weights)
        self._size = network.n_weights

    def check(self, seed: int, first: int, stop: int) -> np.ndarray:
        """Those of the guesses first..stop - 1 that fit all examples, ascending."""
        weights, values = np.empty(self._size, np.float32), np.empty((3, self._width))
        found = np.empty(stop - first, np.int64)
        room = weights, values, np.uint64(seed)
        return found[: _check(self._plan, self._x, *room, first, stop, found)]


@jit
def _check(plan, x, weights, values, seed, first, stop, found):
    """List those of the guesses first..stop - 1 that fit in ``found``; returns how many.

    ``x``: float64 (n, values), the examples one after the other, as the plan has them not.
    """
    count, n = 0, plan.label.size
    for guess in range(first, stop):
        draw_weights(seed, stream(GUESSES, 0), guess, plan.scale, plan.uniform, weights)
        e = 0
        while e < n and _is_right(plan, x[e], weights, values, plan.label[e]):
            e += 1
        if e == n:
            found[count] = guess
            count += 1
    return count


@jit
def _is_right(plan, x, weights, values, label):
    """Whether a guess classifies an example correctly; ``values`` is room for three layers."""
    weights, source = borrowed(weights), borrowed(x)
    sums, last = borrowed(values[2]), plan.layers.size - 1
    for layer in range(last + 1):
        own = plan.layers[layer]
        if own.kernel == 0:
            _add_up(own, source, weights, sums)
        else:
            _convolve(own, source, weights, sums)
        if layer < last:
            target = borrowed(values[layer % 2])
            size = own.outputs * own.places
            if own.kernel > 0:
                _pool(own, sums)
            pass_row(sums[:size], target[:size], plan.activation)
            source = target
    right, other = sums[label], -np.inf
    for k in range(plan.layers[last].outputs):
        if k != label:
            other = max(other, sums[k])
    return wins(right, other, plan.logit_scale)


@inlined
def _add_up(own, source, weights, sums):
    for unit in range(own.outputs):
        first = own.first_weight + unit * own.fan_in
        total = 0.0
        for i in range(own.inputs):
            total += weights[first + i] * source[i]
        if own.fan_in > own.inputs:
            total += weights[first + own.inputs]
        sums[unit] = total


@part
def _convolve(own, source, weights, sums):
    source, weights, sums = borrowed(source), borrowed(weights), borrowed(sums)
    area = own.kernel * own.kernel
    for unit in range(own.outputs):
        first = own.first_weight + unit * own.fan_in
        channel = borrowed(sums[unit * own.positions : (unit + 1) * own.positions])
        channel[:] = weights[first + own.inputs] if own.fan_in > own.inputs else 0.0
        for number in range(own.inputs):
            weight, place = np.float64(weights[first + number]), number % area
            down, right = place // own.kernel - own.pad, place % own.kernel - own.pad
            left = max(0, -right)
            wide = min(own.columns, own.width - right) - left
            for y in range(max(0, -down), min(own.rows, own.height - down)):
                to = y * own.columns + left
                seen = (number // area * own.height + y + down) * own.width + left + right
                row, looked_at = channel[to : to + wide], source[seen : seen + wide]
                for i in range(row.size):
                    row[i] += weight * looked_at[i]


@part
def _pool(own, sums):
    """The largest of each square, in place: none is written to before it is read."""
    across = own.columns // own.pool
    for unit in range(own.outputs):
        for place in range(own.places):
            corner = place // across * own.columns + place % across
            corner = unit * own.positions + own.pool * corner
            found = sums[corner]
            for y in range(own.pool):
                for x in range(own.pool):
                    found = max(found, sums[corner + y * own.columns + x])
            sums[unit * own.places + place] = found
