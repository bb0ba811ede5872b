"""Volumes of real weights that are known in closed form, by every sampler that measures them.

A perceptron with two classes and normal weights fits n inputs where the difference of its weights
is in an orthant seen from them; so do several classes and a hidden ReLU unit, in cases.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from volumetry.methods import guess_and_check, population_annealing, rewl
from volumetry.networks.real import build_real_network
from volumetry.systems.classification import Problem

SEEDS = 20


@dataclass(frozen=True)
class Case:
    """Inputs (n, features), labels, hidden layers and classes; the probability that weights fit."""

    x: np.ndarray
    y: np.ndarray
    volume: float
    layers: tuple[str, ...] = ()
    classes: int = 2

    def posed(self) -> Problem:
        network = build_real_network(
            self.layers, self.x.shape[1:], self.classes, prior="gaussian", scale="fan_in"
        )
        tests = self.x[:1], self.y[:1]
        return Problem(network, self.x, self.y, *tests, self.x[:0], self.y[:0])


def orthogonal(n: int, classes: int) -> Case:
    """Inputs that know nothing of each other: K^-n."""
    return Case(np.eye(n), np.arange(n) % classes, float(classes) ** -n, classes=classes)


def alike(n: int) -> Case:
    """Inputs with correlations of a half, of one class: 1 / (n + 1), as one of n + 1 independent
    normal numbers is the largest."""
    x = np.hstack([np.ones((n, 1)), np.eye(n)]) / np.sqrt(2)
    return Case(x, np.zeros(n, int), 1 / (n + 1))


def at_angles(*angles: float) -> Case:
    """Two or three inputs in a plane, of one class: 1/2 less what the widest angle takes."""
    x = np.array([[np.cos(a), np.sin(a)] for a in angles])
    return Case(x, np.zeros(len(x), int), 0.5 - (max(angles) - min(angles)) / (2 * np.pi))


def three(correlations: tuple[float, float, float]) -> Case:
    """Three inputs, of classes 0, 1, 0: 1/8 + (sum of arcsines) / 4 pi (Sheppard 1899)."""
    a, b, c = correlations
    x = np.linalg.cholesky(np.array([[1, a, b], [a, 1, c], [b, c, 1]]))
    signed = np.arcsin([-a, b, -c]).sum()
    return Case(x, np.array([0, 1, 0]), 1 / 8 + signed / (4 * np.pi))


def one_relu_unit(n: int) -> Case:
    """Orthogonal inputs of one class, a single hidden unit: it has to see each, and prefer the
    class, 2^-(n + 1)."""
    return Case(np.eye(n), np.zeros(n, int), 2.0 ** -(n + 1), layers=("linear 1",))


def random_features(hidden: int) -> Case:
    """Three orthogonal inputs of classes 0, 1, 0 and hidden ReLU units: given these, features at
    known angles, as in ``three``, and nothing fits where an input has none. The mean is over two
    million draws of the features, right to 0.1 %."""
    rng, total = np.random.default_rng(6), 0.0
    sign, draws, parts = np.array([1, -1, 1]), 10**5, 20
    for _ in range(parts):
        seen = np.maximum(rng.standard_normal((draws, 3, hidden)), 0) * sign[:, None]
        size = np.linalg.norm(seen, axis=2)
        seen = seen[size.all(axis=1)] / size[size.all(axis=1), :, None]
        cosines = ((seen[:, a] * seen[:, b]).sum(axis=1) for a, b in ((0, 1), (0, 2), (1, 2)))
        angles = sum(np.arcsin(np.clip(each, -1, 1)) for each in cosines)
        total += np.sum(1 / 8 + angles / (4 * np.pi))
    return Case(np.eye(3), np.array([0, 1, 0]), total / draws / parts, (f"linear {hidden}",))


def of_any_angles(n: int) -> Case:
    """Random inputs: the probability of an orthant, by numerical integration (scipy)."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((n, 3 * n)), rng.integers(0, 2, n)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    signed = x * np.where(y == 0, 1, -1)[:, None]
    normal = stats.multivariate_normal(cov=signed @ signed.T, seed=1, abseps=1e-9, maxpts=10**6)
    return Case(x, y, float(normal.cdf(np.zeros(n))))


CASES: dict[str, Callable[[], Case]] = {
    "orthogonal, two classes": lambda: orthogonal(8, 2),
    "orthogonal, three classes": lambda: orthogonal(6, 3),
    "correlations of a half": lambda: alike(12),
    "two angles": lambda: at_angles(0.2, 2.6),
    "three correlations": lambda: three((0.3, -0.4, 0.2)),
    "one ReLU unit": lambda: one_relu_unit(5),
    "random features": lambda: random_features(4),
    "random inputs": lambda: of_any_angles(6),
}

SAMPLERS = {
    "guess_and_check": (guess_and_check, {"hits": 200, "max_guesses": 400_000}),
    "population_annealing": (population_annealing, {"members": 200, "max_anneals": 2, "guides": 1}),
    "rewl": (rewl, {}),
}


def z_scores(result, volume: float) -> float:
    """Standard errors that a log-volume is off, as a normal number."""
    z = float((result.log_volume - np.log(volume)) / result.log_volume_stderr)
    df = float(result.log_volume_df) if "log_volume_df" in result else np.nan
    return z if not df > 0 else float(stats.norm.ppf(stats.t.cdf(z, df)))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("case", CASES)
def test_a_closed_form_is_met(case, sampler):
    module, given = SAMPLERS[sampler]
    known = CASES[case]()
    result = module.run(known.posed(), module.Parameters(**given), 7)
    assert abs(z_scores(result, known.volume)) < 4


@pytest.fixture(scope="module")
def table():
    """z of every sampler, case and seed."""
    return {sampler: z_of_many_seeds(sampler) for sampler in SAMPLERS}


def z_of_many_seeds(sampler):
    module, given = SAMPLERS[sampler]
    z = []
    for make in CASES.values():
        known = make()
        problem, parameters = known.posed(), module.Parameters(**given)
        own = [module.run(problem, parameters, seed) for seed in range(SEEDS)]
        z.append([z_scores(each, known.volume) for each in own])
    z = np.array(z)
    print(sampler, z.mean(axis=1).round(2), (z**2).mean(axis=1).round(2), (z**2).mean())
    return z


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_mean_is_off_and_no_error_too_small(sampler, table):
    z = table[sampler]
    assert (np.abs(z.mean(axis=1)) * np.sqrt(SEEDS) < 3.3).all()
    assert (z**2).mean() < 1.25


@pytest.mark.long
def test_errors_are_those_of_many_seeds(table):
    """Over the whole table: chi-squared of z, and how often intervals cover."""
    z = np.array(list(table.values()))
    assert 0.8 < (z**2).mean() < 1.25
    assert 0.90 <= (np.abs(z) < 1.96).mean() <= 0.99


def test_cover_counts_the_dichotomies():
    """Of 2^n labellings of n inputs in general position in d dimensions a perceptron makes
    2 sum_k<d binom(n - 1, k) (Cover 1965, doi:10.1109/PGEC.1965.264137); the volumes of all add up
    to one."""
    rng, n, d = np.random.default_rng(5), 5, 2
    x = rng.standard_normal((n, d))
    volumes = []
    for number in range(2**n):
        y = np.array([number >> i & 1 for i in range(n)])
        problem = Case(x, y, np.nan).posed()
        parameters = guess_and_check.Parameters(hits=10**6, max_guesses=2000)
        volumes.append(int(guess_and_check.run(problem, parameters, 3).hits) / 2000)
    assert np.count_nonzero(volumes) == 2 * n
    assert sum(volumes) == pytest.approx(1.0, abs=1e-12)
