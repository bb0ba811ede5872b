"""Histograms to one density of states and its errors, against known densities and series.

Everything sampled has a fixed seed; each bound below says what a correct estimate would give.
"""

import numpy as np
import pytest

from volumetry.estimate.reweighting import (
    jackknife_stderr,
    multi_histogram,
    split_r_hat,
    statistical_inefficiency,
)


def log_density(bins, steepness):
    """A bell that falls over many nats, normalised."""
    log_p = -steepness * (np.arange(bins) - 0.3 * bins) ** 2
    return log_p - np.log(np.exp(log_p - log_p.max()).sum()) - log_p.max()


def ensembles(log_p, edges):
    """Uniform measure, then windows [low, high] with weights near 1/p: ln w, (ensembles, bins)."""
    bins = np.arange(len(log_p))
    tilt = 0.4 * np.sin(bins)  # weights are never exactly 1/p
    windows = [np.where((bins >= a) & (bins <= b), tilt - log_p, -np.inf) for a, b in edges]
    return np.array([np.zeros(len(bins)), *windows])


def probabilities(log_p, log_weight):
    p = np.exp(log_p + log_weight - (log_p + log_weight).max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.fixture
def problem():
    """Forty bins over 140 nats; the top one of probability about e^-138."""
    log_p = log_density(40, 0.18)
    log_weight = ensembles(log_p, [(0, 15), (8, 23), (16, 31), (24, 39)])
    assert log_p[-1] < -130
    return log_p, log_weight


def test_expected_counts_give_the_density_exactly(problem):
    log_p, log_weight = problem
    sizes = np.array([1e4, 500.0, 1e6, 300.0, 2e5])
    counts = sizes[:, None] * probabilities(log_p, log_weight)
    got, f = multi_histogram(counts, log_weight)
    assert np.abs(got - log_p).max() < 1e-8
    expected = -np.log(np.exp(log_p + log_weight).sum(axis=1))
    assert f[0] == 0
    assert np.abs(f - expected).max() < 1e-8


def test_the_solution_satisfies_the_equations_and_sums_to_one(problem):
    log_p, log_weight = problem
    rng = np.random.default_rng(3)
    p = probabilities(log_p, log_weight)
    counts = np.array([rng.multinomial(2000, row) for row in p]).astype(float)
    counts[:, [11, 38, 39]] = 0
    got, f = multi_histogram(counts, log_weight)
    seen = counts.sum(axis=0) > 0
    assert np.array_equal(np.isneginf(got), ~seen)
    assert np.exp(got).sum() == pytest.approx(1, abs=1e-9)
    again = -np.log(np.exp(got + log_weight).sum(axis=1))
    assert np.abs(again - f).max() < 1e-8
    mixture = (counts.sum(axis=1)[:, None] * np.exp(log_weight + f[:, None])).sum(axis=0)
    fixed = np.log(counts.sum(axis=0)[seen]) - np.log(mixture[seen])
    assert np.abs(fixed - got[seen]).max() < 1e-9


def test_the_solution_maximises_the_likelihood():
    """Two ensembles, three bins: any small change of p lowers the log-likelihood."""
    counts = np.array([[50.0, 30.0, 20.0], [5.0, 20.0, 90.0]])
    log_weight = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 3.0]])

    def likelihood(log_p):
        joint = log_p + log_weight
        return (counts * (joint - np.log(np.exp(joint).sum(axis=1, keepdims=True)))).sum()

    log_p, _ = multi_histogram(counts, log_weight)
    best = likelihood(log_p)
    for change in np.eye(3) * 1e-3:
        assert likelihood(log_p + change) < best
        assert likelihood(log_p - change) < best


def test_a_start_and_a_scale_do_not_matter(problem):
    log_p, log_weight = problem
    rng = np.random.default_rng(4)
    p = probabilities(log_p, log_weight)
    counts = np.array([rng.multinomial(3000, row) for row in p]).astype(float)
    got, f = multi_histogram(counts, log_weight)
    seen = np.isfinite(got)
    warm, _ = multi_histogram(counts, log_weight, f + rng.normal(0, 1, len(f)))
    assert np.abs(warm[seen] - got[seen]).max() < 1e-8
    scaled, _ = multi_histogram(counts / 7.5, log_weight)
    assert np.abs(scaled[seen] - got[seen]).max() < 1e-8
    shifted, g = multi_histogram(counts, log_weight + np.array([0, 5, -300, 2, 1])[:, None])
    assert np.abs(shifted[seen] - got[seen]).max() < 1e-8
    assert np.abs(f - g - [0, 5, -300, 2, 1]).max() < 1e-8


def test_one_uniform_ensemble_gives_the_frequencies():
    got, f = multi_histogram(np.array([[1.0, 0.0, 3.0]]), np.zeros((1, 3)))
    assert np.exp(got) == pytest.approx([0.25, 0, 0.75])
    assert f.tolist() == [0]


def test_an_ensemble_without_counts_says_nothing(problem):
    log_p, log_weight = problem
    counts = 1000 * probabilities(log_p, log_weight)
    without, _ = multi_histogram(counts, log_weight)
    empty = np.insert(counts, 2, 0, axis=0)
    got, f = multi_histogram(empty, np.insert(log_weight, 2, 1.5, axis=0))
    assert np.abs(got - without).max() < 1e-8
    assert np.isnan(f[2])
    assert np.isfinite(np.delete(f, 2)).all()


def test_jackknife_errors_of_log_p_cover_the_truth():
    """z of ln p in 10 bins x 200 repetitions: variance and mean of z, 20 comparisons.

    With 20 groups z follows about Student's t with 19 degrees of freedom: variance 19/17 = 1.12,
    known to 0.12 from 200 values, so five standard errors allow 0.5 to 1.73; the mean is 0 to
    within five of its own, 0.37.
    """
    groups, repetitions = 20, 200
    log_p = log_density(10, 0.35)
    log_weight = ensembles(log_p, [(0, 5), (4, 9)])
    p = probabilities(log_p, log_weight)
    rng = np.random.default_rng(20)
    z = []
    for _ in range(repetitions):
        counts = np.array([[rng.multinomial(300, row) for row in p] for _ in range(groups)])
        total = counts.sum(axis=0).astype(float)
        whole, f = multi_histogram(total, log_weight)
        without = np.array([multi_histogram(total - c, log_weight, f)[0] for c in counts])
        z.append((whole - log_p) / jackknife_stderr(without))
    z = np.array(z)
    assert z.shape == (repetitions, 10)
    variance = z.var(axis=0, ddof=1)
    assert (variance > 0.5).all()
    assert (variance < 1.73).all()
    assert (np.abs(z.mean(axis=0)) < 0.37).all()


def test_jackknife_of_a_mean_is_the_classical_standard_error():
    values = np.random.default_rng(5).normal(3, 2, (12, 4))
    without = np.array([np.delete(values, i, axis=0).mean(axis=0) for i in range(12)])
    classical = values.std(axis=0, ddof=1) / np.sqrt(12)
    assert jackknife_stderr(without) == pytest.approx(classical, rel=1e-12)


def autoregressive(rho, chains, length, rng):
    """AR(1) chains in their stationary state, unit variance."""
    x = np.empty((chains, length))
    x[:, 0] = rng.normal(size=chains)
    noise = rng.normal(0, np.sqrt(1 - rho**2), (chains, length))
    for t in range(1, length):
        x[:, t] = rho * x[:, t - 1] + noise[:, t]
    return x


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_statistical_inefficiency_of_an_autoregression(rho):
    """(1 + rho) / (1 - rho); 160,000 samples know it to about 3 % at rho = 0.9."""
    traces = autoregressive(rho, 4, 40_000, np.random.default_rng(6))
    assert statistical_inefficiency(traces) == pytest.approx((1 + rho) / (1 - rho), rel=0.1)
    assert statistical_inefficiency(5 - 3 * traces) == pytest.approx(
        statistical_inefficiency(traces), rel=1e-9
    )


def test_statistical_inefficiency_is_between_one_and_the_length():
    assert statistical_inefficiency(np.tile([0.0, 1.0], (2, 50))) == 1  # alternating
    assert statistical_inefficiency(np.full((3, 100), 7.0)) == 100  # never moved
    assert statistical_inefficiency(np.repeat([[0.0], [1.0]], 100, axis=1)) == 100
    assert statistical_inefficiency(np.array([[1.0, 2.0, 1.0]])) == 3  # too few to tell


def test_chains_that_disagree_are_slow():
    """A difference between chains is a correlation that never decays."""
    rng = np.random.default_rng(7)
    traces = rng.normal(size=(4, 1000))
    assert statistical_inefficiency(traces) < 1.2
    assert statistical_inefficiency(traces + 5 * np.arange(4)[:, None]) > 200


def test_split_r_hat():
    rng = np.random.default_rng(8)
    traces = rng.normal(size=(4, 2000))
    assert abs(split_r_hat(traces) - 1) < 0.01
    assert split_r_hat(traces + np.arange(4)[:, None]) > 1.4  # shifted chains
    assert split_r_hat(traces + np.linspace(0, 4, 2000)) > 1.3  # drift that all chains share
    assert split_r_hat(np.ones((2, 10))) == 1
    assert split_r_hat(np.array([[1.0] * 10, [2.0] * 10])) == np.inf
    assert np.isnan(split_r_hat(np.ones((2, 3))))


def test_split_r_hat_by_hand():
    """Halves (0, 2) and (2, 4) of one chain: within 2, between 2, r = sqrt(1/2 + 2/2)."""
    assert split_r_hat(np.array([[0, 2, 2, 4]])) == pytest.approx(np.sqrt(1.5))
    # An odd chain leaves its middle out.
    assert split_r_hat(np.array([[0, 2, 99, 2, 4]])) == pytest.approx(np.sqrt(1.5))
