"""Guess & Check: every guess is checked as the plain forward pass would, and all are counted."""

from math import log, sqrt

import numpy as np
import pytest

from volumetry.methods import guess_and_check
from volumetry.methods.guess_and_check import Checker, guessed_weights
from volumetry.methods.guess_and_check import Parameters as GuessAndCheckParameters
from volumetry.networks import build_network
from volumetry.networks.forward import predict
from volumetry.systems.classification import Problem

NETWORKS = {  # layers, input shape, classes, largest |input|
    "simple_cnn": ("simple_cnn", (1, 8, 8), 2, 15),
    "simple_cnn_deep": ("simple_cnn_deep", (1, 8, 8), 3, 15),
    "several input channels": (["conv 5"], (5, 4, 4), 2, 9),
    "custom": (["pool", "conv 3", "conv 4", "pool", "linear 7", "linear 5"], (2, 9, 11), 2, 15),
    "perceptron": ("perceptron", (1, 8, 8), 3, 15),
    "more units than lanes": (["linear 40"], (13,), 2, 1),
    "64-bit sums": (["conv 2", "linear 3"], (1, 4, 4), 2, 50_000_000),
}
# Kernels for 64-bit sums are slow to compile.
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * ("64" in name)) for name in NETWORKS]


def examples(name, n, seed=0):
    layers, shape, n_classes, bound = NETWORKS[name]
    rng = np.random.default_rng(seed)
    network = build_network(layers, shape, n_classes, bound)
    x = rng.integers(-bound, bound + 1, (n, *shape))
    return network, x, rng.integers(0, n_classes, n)


@pytest.mark.parametrize("name", NAMES)
def test_guesses_fit_where_the_forward_pass_says_so(name):
    network, x, y = examples(name, 3)
    weights = [guessed_weights(network, 7, guess) for guess in range(5, 405)]
    fits = [5 + i for i, w in enumerate(weights) if (predict(network, w, x) == y).all()]
    assert len(fits) >= 4
    assert Checker(network, x, y).check(7, 5, 405).tolist() == fits


def test_examples_without_maps_made_in_advance_are_checked_alike(monkeypatch):
    network, x, y = examples("simple_cnn", 3)
    hits = Checker(network, x, y).check(7, 0, 2000)
    monkeypatch.setattr(guess_and_check, "_MAPPED", 1)
    assert np.array_equal(Checker(network, x, y).check(7, 0, 2000), hits)


@pytest.mark.parametrize("name", ["simple_cnn", "custom"])
def test_weights_are_independent_fair_coins(name):
    network, _, _ = examples(name, 1)
    draws = 4000
    weights = np.array([guessed_weights(network, 3, guess) for guess in range(draws)], np.float32)
    assert set(np.unique(weights)) == {-1, 1}
    z = weights.sum(axis=0) / sqrt(draws)
    assert 0.9 < (z**2).mean() < 1.1
    neighbours = (weights[:, 1:] * weights[:, :-1]).sum(axis=0) / sqrt(draws)
    assert 0.9 < (neighbours**2).mean() < 1.1
    between_guesses = (weights[1:] * weights[:-1]).sum(axis=1) / sqrt(network.n_weights)
    assert 0.9 < (between_guesses**2).mean() < 1.1


def problem(name, n):
    network, x, y = examples(name, n)
    nothing = np.zeros((0, *x.shape[1:]), x.dtype), np.zeros(0, np.int64)
    return Problem(network, x, y, x, y, *nothing)


def test_the_result_does_not_depend_on_threads():
    parameters = GuessAndCheckParameters(hits=30)
    one, two = (
        guess_and_check.run(problem("simple_cnn", 6), parameters, 9, threads=threads)
        for threads in (1, 2)
    )
    assert one.identical(two)
    assert int(one.hits) == 30
    assert (one.hit_test_accuracy == 1).all()  # tested on what they fit
    assert float(one.log_volume) == log(30 / int(one.guesses))


def test_without_a_hit_the_volume_is_censored():
    result = guess_and_check.run(problem("simple_cnn", 40), GuessAndCheckParameters(5, 1000), 9)
    assert (int(result.hits), int(result.guesses)) == (0, 1000)
    assert np.isnan(result.log_volume)
    # The upper end of a two-sided interval: (1 - V)^1000 = 2.5 %; not ln(3 / 1000), 5 %.
    assert float(result.log_volume_upper) == pytest.approx(log(-np.expm1(log(0.025) / 1000)))
    assert (int(result.converged), int(result.stopped_at_hit)) == (0, 0)
    assert result.attrs["verdict"] == "censored: no hit in 1000 guesses"


@pytest.mark.parametrize("hits, converged", [(9, 0), (10, 1)])
def test_a_log_volume_takes_ten_hits(hits, converged):
    result = guess_and_check.run(problem("simple_cnn", 3), GuessAndCheckParameters(hits, 10**5), 9)
    assert (int(result.hits), int(result.stopped_at_hit)) == (hits, 1)
    assert int(result.converged) == converged
    few = f"not converged: 9 hits in {int(result.guesses)} guesses, fewer than the 10 that"
    assert result.attrs["verdict"].startswith(few) != bool(converged)
    assert float(result.test_accuracy_df) == hits - 1 and float(result.log_volume_df) == np.inf


def test_a_search_that_spent_its_budget_says_so():
    result = guess_and_check.run(problem("simple_cnn", 3), GuessAndCheckParameters(10**4, 4000), 9)
    assert 10 <= int(result.hits) < 10**4 and int(result.guesses) == 4000
    assert (int(result.stopped_at_hit), int(result.converged)) == (0, 1)
