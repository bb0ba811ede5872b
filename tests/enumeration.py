"""Small random problems, and their exact density of states by plain evaluation of all weights."""

import numpy as np

from volumetry.networks import build_network
from volumetry.networks.forward import predict
from volumetry.systems.classification import Problem

_SHAPES = [  # layers, input shape, classes: 8 to 16 weights
    ((), (5,), 2),
    ((), (4,), 3),
    ((), (3,), 4),
    ((), (8,), 2),
    (("linear 2",), (3,), 2),
    (("linear 2",), (3,), 3),
    (("linear 2",), (6,), 2),
    (("linear 2", "linear 2"), (2,), 2),
    (("linear 3",), (2,), 2),
    (("linear 3",), (3,), 2),
    (("conv 1",), (1, 1, 1), 2),
    (("conv 1", "pool"), (1, 2, 2), 2),
    (("pool", "linear 2"), (1, 4, 4), 2),
]


def random_problem(number: int) -> Problem:
    """A reproducible problem with 8 to 16 weights.

    Labels are random, so some A may be missing. Every fourth problem has repeated examples, every
    fifth labels that a network of the same shape gave, every seventh a single label.
    """
    rng = np.random.default_rng(number)
    layers, shape, classes = _SHAPES[number % len(_SHAPES)]
    network = build_network(layers, shape, classes, 5)
    n, n_test = int(rng.integers(2, 17)), 20
    x = rng.integers(-5, 6, (n + n_test, *shape))
    y = rng.integers(0, classes, n + n_test)
    if number % 4 == 3:
        x[: n // 2] = x[n // 2 : n // 2 * 2]
    if number % 5 == 4:
        weights = (2 * rng.integers(0, 2, network.n_weights) - 1).astype(np.int8)
        y = predict(network, weights, x)
    if number % 7 == 6:
        y[:n] = y[0]
    return Problem(network, x[:n], y[:n], x[n:], y[n:], x[:0], y[:0])


def every_setting(size: int) -> np.ndarray:
    """All 2^size weight settings: int8 (2^size, size), bit i of a row's number telling weight i."""
    return (2 * (np.arange(2**size)[:, None] >> np.arange(size) & 1) - 1).astype(np.int8)


def plain_counts(problem: Problem) -> np.ndarray:
    """How many weight settings have each (A, correct test examples): (n + 1, N + 1)."""
    n, n_test = len(problem.y_train), len(problem.y_test)
    x = np.concatenate([problem.x_train, problem.x_test])
    y = np.concatenate([problem.y_train, problem.y_test])
    counts = np.zeros((n + 1, n_test + 1), np.int64)
    for weights in every_setting(problem.network.n_weights):
        right = predict(problem.network, weights, x) == y
        counts[right[:n].sum(), right[n:].sum()] += 1
    return counts
