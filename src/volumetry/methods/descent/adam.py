"""Training with Adam (Kingma & Ba 2015, algorithm 1), as ``methods.training`` has it."""

import numpy as np
from threadpoolctl import threadpool_limits

from volumetry.methods.descent import binary, real  # noqa: F401, their answers
from volumetry.methods.descent.network import as_seen, bound_of, gradient_of, start, weights_of
from volumetry.methods.descent.problem import descend
from volumetry.networks.forward import count_correct
from volumetry.systems.classification import Problem

_MOST_EPOCHS = 500
_EXTRA_EPOCHS = 20
"""After the first fit: margins grow, and with them what only they can tell apart."""

_BATCH = 100
_RATE = 0.003
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@descend.register
@threadpool_limits.wrap(limits=1)  # sums then do not depend on the number of threads
def _(problem: Problem, seed: int, number: int) -> np.ndarray:
    """The last weights that fit, or else those that were right most often."""
    network, n = problem.network, len(problem.y_train)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    x, latents, bound = as_seen(network, problem.x_train), start(network, rng), bound_of(network)
    mean, square, steps = np.zeros_like(latents), np.zeros_like(latents), 0
    best, most, fitted = weights_of(network, latents), -1, 0
    for _ in range(_MOST_EPOCHS):
        for batch in np.array_split(rng.permutation(n), -(-n // _BATCH)):
            weights = weights_of(network, latents).astype(np.float32)
            gradient = gradient_of(network, weights, x[batch], problem.y_train[batch])
            steps += 1
            mean += (1 - _BETA1) * (gradient - mean)
            square += (1 - _BETA2) * (gradient**2 - square)
            spread = np.sqrt(square / (1 - _BETA2**steps)) + _EPSILON
            latents -= _RATE / (1 - _BETA1**steps) * mean / spread
            np.clip(latents, -bound, bound, out=latents)
        weights = weights_of(network, latents)
        correct = count_correct(network, weights, problem.x_train, problem.y_train)
        if correct >= most:
            best, most = weights, correct
        fitted += most == n
        if fitted > _EXTRA_EPOCHS:
            break
    return best
