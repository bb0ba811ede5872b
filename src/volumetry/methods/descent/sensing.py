"""Descent on the training loss of matrix sensing."""

import numpy as np
from threadpoolctl import threadpool_limits

from volumetry.methods.descent import real  # noqa: F401, its bounds
from volumetry.methods.descent.network import bound_of
from volumetry.methods.descent.problem import descend
from volumetry.networks.real import activate, slope, split_weights
from volumetry.systems.sensing import SensingProblem

_MOST_STEPS = 5000
_RATE = 0.01
"""Length of the first step over that of the weights; steps become shorter to the last."""

_BELOW = 0.8
"""Training loss over epsilon at which it is enough: well inside, and near the edge, where most that
fits is."""


@descend.register
@threadpool_limits.wrap(limits=1)  # sums then do not depend on the number of threads
def _(problem: SensingProblem, seed: int, number: int) -> np.ndarray:
    """From a draw of the prior, by steps along the gradient of a given length."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    weights = np.float64(problem.space.draw(rng))[None]
    length, bound = _RATE * np.linalg.norm(weights), bound_of(problem.network)
    best, least = weights[0], np.inf
    for step in range(_MOST_STEPS):
        loss = problem.losses(weights[0])[0]
        if loss < least:
            best, least = weights[0], loss
        if loss < _BELOW * problem.epsilon:
            break
        gradient = loss_gradient(problem, weights)[1]
        size = np.linalg.norm(gradient)
        if size == 0:  # a unit that passes nothing on
            break
        weights = weights - length * (1 - step / _MOST_STEPS) / size * gradient
        weights = np.clip(weights, -bound, bound)
    return best.astype(problem.space.dtype)


def loss_gradient(problem: SensingProblem, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training losses (networks,) and their gradients (networks, n_weights)."""
    network = problem.network
    layers = split_weights(network, weights)
    sums = [layers[0]]  # what unit vectors make of the first layer
    passed = []
    for layer in layers[1:]:
        passed.append(activate(sums[-1], network.activation))
        sums.append(layer @ passed[-1])
    n = len(problem.values)
    flat = problem.matrices.reshape(n, -1)
    missed = sums[-1].reshape(len(weights), -1) @ flat.T - problem.values
    down = ((2 / n) * missed @ flat).reshape(sums[-1].shape)
    found = []
    for layer, before, values in zip(layers[:0:-1], sums[-2::-1], passed[::-1]):
        found.append(down @ values.swapaxes(1, 2))
        down = (layer.swapaxes(1, 2) @ down) * slope(before, network.activation)
    found.append(down)
    gradients = [each.reshape(len(weights), -1) for each in reversed(found)]
    return (missed**2).mean(axis=1), np.concatenate(gradients, axis=1)
