"""Small random problems, and their exact density of states by enumeration of all weights."""

from dataclasses import dataclass

import numpy as np

from volumetry.networks import build_network
from volumetry.networks.forward import predict
from volumetry.samplers.problem import Problem

_SHAPES = [
    ((), (5,), 2),
    ((), (4,), 3),
    (("linear 2",), (3,), 2),
    (("linear 2", "linear 2"), (2,), 2),
    (("conv 1",), (1, 1, 1), 2),
    (("conv 1", "pool"), (1, 2, 2), 2),
    (("linear 3",), (2,), 2),
]


@dataclass(frozen=True)
class Exact:
    """What enumeration says, over A = 0..n.

    Attributes:
        log_g: ln of the number of weight settings; -inf where there is none.
        accuracy: mean test accuracy at A; NaN where there is no weight setting.
    """

    log_g: np.ndarray
    accuracy: np.ndarray


def random_problem(number: int) -> Problem:
    """A reproducible problem with 8 to 12 weights; labels are random, so some A may be missing."""
    rng = np.random.default_rng(number)
    layers, shape, classes = _SHAPES[number % len(_SHAPES)]
    network = build_network(layers, shape, classes, 5)
    n, n_test = int(rng.integers(3, 9)), 20
    x = rng.integers(-5, 6, (n + n_test, *shape))
    y = rng.integers(0, classes, n + n_test)
    return Problem(network, x[:n], y[:n], x[n:], y[n:], x[:0], y[:0])


def enumerate_states(problem: Problem) -> Exact:
    """Evaluate every weight setting with the plain forward pass."""
    n, m = len(problem.y_train), problem.network.n_weights
    x = np.concatenate([problem.x_train, problem.x_test])
    y = np.concatenate([problem.y_train, problem.y_test])
    count, accuracy = np.zeros(n + 1), np.zeros(n + 1)
    for number in range(2**m):
        weights = (2 * (number >> np.arange(m) & 1) - 1).astype(np.int8)
        right = predict(problem.network, weights, x) == y
        count[right[:n].sum()] += 1
        accuracy[right[:n].sum()] += right[n:].mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        return Exact(np.log(count), accuracy / count)
