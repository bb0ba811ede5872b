"""rewl against exhaustive enumeration, Guess & Check, and itself."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from enumeration import random_problem
from scipy.special import logsumexp

from volumetry.chains.records import Advance, new_tally
from volumetry.estimate.production import Uniform
from volumetry.methods import enumeration, guess_and_check, rewl
from volumetry.methods.enumeration import Parameters as EnumerateParameters
from volumetry.methods.flat_histogram import explore as stage
from volumetry.methods.flat_histogram.setting import open_run
from volumetry.methods.flat_histogram.windows import plan_windows
from volumetry.methods.rewl import Parameters as RewlParameters
from volumetry.systems.classification import Classification

QUICK = RewlParameters(max_blocks=100)


def exact_result(problem):
    return enumeration.run(problem, EnumerateParameters())


@pytest.fixture(scope="module", params=[39, pytest.param(78, marks=pytest.mark.slow)])
def compared(request):
    """(exact, estimated) for so many problems."""
    problems = [random_problem(number) for number in range(request.param)]
    return [
        (exact_result(problem), rewl.run(problem, QUICK, 100 + number))
        for number, problem in enumerate(problems)
    ]


def test_the_same_values_of_a_are_reachable(compared):
    for exact, estimate in compared:
        np.testing.assert_array_equal(np.isfinite(exact.log_g), np.isfinite(estimate.log_g.values))


def test_log_g_agrees_with_enumeration_within_its_errors(compared):
    """Some 6 for each problem, two thirds of them independent: of 78, |z| > 4.5 in one of 300."""
    z = []
    for exact, estimate in compared:
        reachable = np.isfinite(exact.log_g.values)
        difference = (estimate.log_g - exact.log_g).values[reachable]
        if len(difference) > 1:
            z.extend(difference / estimate.log_g_stderr.values[reachable])
        else:  # every weight setting has the same A
            assert np.abs(difference).max() < 1e-9
    z = np.array(z)
    known = np.isfinite(z)  # no error is given where one group of walkers alone met an A
    assert known.sum() > 400 / 78 * len(compared)
    assert known.mean() > 0.99
    assert np.abs(z[known]).max() < 4.5
    assert 0.7 < np.mean(z[known] ** 2) < 1.35
    assert 0.92 < np.mean(np.abs(z[known]) < 1.96) < 0.98


def test_the_errors_are_small_enough_to_mean_something(compared):
    errors = np.concatenate([e.log_g_stderr.values[np.isfinite(x.log_g)] for x, e in compared])
    assert np.nanmedian(errors) < 0.1


def test_accuracy_at_each_a_agrees_with_enumeration(compared):
    """Only A with hundreds of test evaluations: the jackknife needs some in every group."""
    z = []
    for exact, estimate in compared:
        error = estimate.accuracy_given_A_stderr.values
        use = (estimate.tests_at_A.values >= 300) & (error > 1e-6)
        difference = estimate.accuracy_given_A.values - exact.accuracy_given_A.values
        z.extend(difference[use] / error[use])
    assert len(z) > 150 / 78 * len(compared)
    assert np.abs(z).max() < 4.5
    assert 0.7 < np.mean(np.square(z)) < 1.4


def test_density_of_states_sums_to_all_weights(compared):
    for number, (_, estimate) in enumerate(compared):
        n_weights = random_problem(number).network.n_weights
        total = np.logaddexp.reduce(estimate.log_g.values)
        assert total == pytest.approx(n_weights * np.log(2), abs=1e-6)


def test_an_unreachable_fit_is_reported_and_not_converged(compared):
    unreachable = [e for x, e in compared if not np.isfinite(x.log_g[-1])]
    assert unreachable
    for estimate in unreachable:
        assert estimate.converged == 0
        assert "the highest A met is" in estimate.attrs["verdict"]
        assert np.isnan(estimate.log_volume)


def test_a_budget_too_small_is_reported_as_not_converged():
    parameters = RewlParameters(
        rung_sweeps=0.5, learning_sweeps=2, block_sweeps=0.5, min_blocks=4, max_blocks=4
    )
    estimate = rewl.run(random_problem(6), parameters, 1)
    assert estimate.converged == 0
    assert "standard error of ln V" in estimate.attrs["verdict"]
    assert np.isfinite(estimate.log_volume)


@pytest.mark.parametrize("goal", [0, 10])
def test_the_anneal_does_not_end_below_its_goal(goal, monkeypatch):
    """Where the last step of ln g is the steepest by far, walkers wait for long at A = n - 1."""
    problem = random_problem(0)
    problem = replace(problem, x_train=problem.x_train[[0] * 10], y_train=problem.y_train[[0] * 10])
    log_g = np.append(-2.0 * np.arange(10), -38.0)
    rng = np.random.default_rng(0)

    def draw_rung(flat, walkers, beta, moves, mixture):
        p = np.exp(log_g + beta * np.arange(11) - np.max(log_g + beta * np.arange(11)))
        tally = new_tally(flat.sets, 1, 11, 20, 500, len(mixture.kinds))
        tally.trace[:, 0] = rng.choice(11, (flat.sets, 500), p=p / p.sum())
        for visits, trace in zip(tally.visits[:, 0], tally.trace[:, 0]):
            visits[:] = np.bincount(trace, minlength=11)
        tally.changes[:] = tally.visits
        return Advance(walkers, tally, None, starts)

    monkeypatch.setattr(stage, "run_rung", draw_rung)
    system = Classification.over_correct(problem)
    flat = open_run("rewl", system, RewlParameters(), 0, None)
    starts = np.ones((flat.sets, problem.network.n_weights), np.int8)
    draws = rng.multinomial(1000, np.exp(log_g - logsumexp(log_g)), flat.sets)
    uniform = Uniform(draws, 0 * draws, 0 * draws)
    ladder = stage.explore(flat, stage.Anneal(rung_sweeps=1, goal=goal), starts, uniform)
    assert np.isfinite(ladder.log_p[:10]).all()
    assert np.isfinite(ladder.log_p[10]) == (goal == 10)


def test_a_constant_a_is_no_lack_of_samples():
    problem = random_problem(0)
    alike = replace(problem, x_train=problem.x_train * 0, y_train=problem.y_train * 0)
    estimate = rewl.run(alike, QUICK, 1)
    assert estimate.converged == 1, estimate.attrs["verdict"]
    assert estimate.log_volume == pytest.approx(0, abs=1e-12)


def test_two_threads_give_the_same_result_as_one():
    problem = random_problem(12)
    one = rewl.run(problem, QUICK, 5, threads=1)
    assert one.identical(rewl.run(problem, QUICK, 5, threads=2))
    assert not one.identical(rewl.run(problem, QUICK, 6))


def test_several_windows_agree_with_enumeration():
    problem = random_problem(7)
    exact = exact_result(problem)
    parameters = RewlParameters(window_cost=6, block_sweeps=20, min_blocks=40, max_blocks=80)
    estimate = rewl.run(problem, parameters, 3)
    assert estimate.sizes["window"] > 2
    assert (estimate.exchange_acceptance.values[:-1] > 0.05).all()
    assert estimate.round_trips > 10
    z = ((estimate.log_g - exact.log_g) / estimate.log_g_stderr).values
    z = z[np.isfinite(exact.log_g.values)]
    assert np.abs(z).max() < 4


@pytest.mark.parametrize("number", [0, 7, 14])
def test_guess_and_check_agrees_with_enumeration(number):
    problem = random_problem(number + 14)
    exact = exact_result(problem)
    parameters = guess_and_check.Parameters(hits=400, max_guesses=200_000)
    result = guess_and_check.run(problem, parameters, 11)
    if np.isfinite(exact.log_volume):
        assert abs(result.log_volume - exact.log_volume) < 4 * result.log_volume_stderr
        error = 4 * result.test_accuracy_stderr
        assert abs(result.test_accuracy - exact.test_accuracy) <= error
    else:
        assert result.hits == 0


@pytest.mark.parametrize("slope", [0.1, 1.0, 3.0])
def test_windows_cover_the_range_and_overlap_by_half(slope):
    log_p = -slope * np.arange(101) - 0.02 * np.arange(101) ** 2
    log_p[[5, 50]] = -np.inf
    windows = plan_windows(log_p, 60)
    assert windows[0][0] == 0 and windows[-1][1] == 100
    for (a, b), (c, d) in pairwise(windows):
        assert a < c and b < d
        assert 2 * (b - c + 1) >= max(b - a, d - c) + 1
    steep, flat = windows[-1], windows[0]
    assert len(windows) == 1 or steep[1] - steep[0] < flat[1] - flat[0]
