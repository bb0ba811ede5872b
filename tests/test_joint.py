"""joint against enumeration over (A, Q), and against what it must not believe."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from enumeration import random_problem
from exactly_solvable import perceptron_with_rule

from volumetry.estimate.populations import Populations, Way
from volumetry.methods import enumeration, joint
from volumetry.methods.enumeration import Parameters as EnumerateParameters
from volumetry.methods.joint import Parameters as JointParameters
from volumetry.networks.forward import count_correct

MANY = JointParameters(members=25, populations=16, rung_sweeps=2, max_anneals=1, guides=3)
FEWER = replace(MANY, populations=8)
PROBLEMS = (4, 6, 9, 13, 14, 16, 19, 24, 29, 34, 39, 44)  # with a fit, over 20 test examples


def relative(log_g):
    """ln of the share in all that is finite."""
    return log_g - np.logaddexp.reduce(log_g[np.isfinite(log_g)])


def trained(problem, states):
    """What gd would have left: networks by their weights."""
    return xr.Dataset(
        {
            "fitted": ("network", np.ones(len(states), np.int8)),
            "weights": (("network", "weight_byte"), np.packbits(states > 0, axis=1)),
        }
    )


def all_fits(problem):
    m = problem.network.n_weights
    states = (2 * (np.arange(2**m)[:, None] >> np.arange(m) & 1) - 1).astype(np.int8)
    train = [count_correct(problem.network, w, problem.x_train, problem.y_train) for w in states]
    return states[np.array(train) == len(problem.y_train)]


@pytest.fixture(scope="module")
def compared():
    """(exact, joint) of every problem that has a fit."""
    results = []
    for number in PROBLEMS:
        problem = random_problem(number)
        exact = enumeration.run(problem, EnumerateParameters())
        if np.isfinite(exact.log_volume):
            results.append((exact, joint.run(problem, MANY, number)))
    assert sum(int(own.converged) for _, own in results) >= 2 / 3 * len(PROBLEMS)
    return results


@pytest.mark.slow
def test_joint_density_agrees_with_enumeration(compared):
    z = []
    for exact, own in compared:
        g, found = exact.log_g_joint.values, own.log_g_joint.values
        assert not np.isfinite(found[~np.isfinite(g)]).any()  # nothing that is not there
        judged = own.log_g_joint_stderr.values > 1e-6
        assert np.logaddexp.reduce(relative(g)[judged]) > np.log(0.95)
        z.extend((found[judged] - g[judged]) / own.log_g_joint_stderr.values[judged])
    assert len(z) > 25 * len(compared)
    assert 0.6 < np.mean(np.square(z)) < 1.7  # 15 / 13 by Student's t, and the rarest levels
    assert np.mean(np.abs(z) < 2.13) > 0.9


@pytest.mark.slow
def test_distribution_of_the_interpolators_agrees_with_enumeration(compared):
    z = []
    for exact, own in compared:
        g = relative(exact.log_g_joint.values[-1])
        judged = own.log_p_given_fit_stderr.values > 1e-6  # 0 for a single possible accuracy
        difference = own.log_p_given_fit.values[judged] - g[judged]
        z.extend(difference / own.log_p_given_fit_stderr.values[judged])
    assert len(z) > 40 / 12 * len(compared)
    assert 0.5 < np.mean(np.square(z)) < 1.8
    assert np.abs(z).max() < 5


@pytest.mark.slow
def test_volume_and_accuracy_agree_with_enumeration(compared):
    z = []
    for exact, own in compared:
        for name in ("log_volume", "test_accuracy"):
            if own[f"{name}_stderr"] > 1e-6:
                z.append(float((own[name] - exact[name]) / own[f"{name}_stderr"]))
    assert len(z) > len(compared)
    assert 0.4 < np.mean(np.square(z)) < 2 and np.abs(z).max() < 4


def test_tail_volumes_of_networks_are_those_of_enumeration():
    problem = random_problem(9)
    exact = enumeration.run(problem, EnumerateParameters())
    fits = all_fits(problem)
    hits = [count_correct(problem.network, w, problem.x_test, problem.y_test) for w in fits]
    states = fits[[np.argmax(hits), np.argmin(hits), 0]]
    own = joint.run(problem, FEWER, 1, sources={"gd": trained(problem, states)})
    g = relative(exact.log_g_joint.values[-1])
    assert list(own.network_sampler.values) == ["gd"] * 3
    for network in range(3):
        count = round(float(own.network_test_accuracy[network]) * 20)
        assert count == count_correct(
            problem.network, states[network], problem.x_test, problem.y_test
        )
        tail = np.logaddexp.reduce(g[count:])
        error = max(float(own.tail_log_volume_stderr[network]), 1e-9)
        assert abs(own.tail_log_volume[network] - tail) < 4 * error
    assert own.tail_log_volume[0] < -1 and own.tail_log_volume[1] == pytest.approx(0, abs=1e-9)


def test_bins_are_sums_over_their_test_counts():
    problem = random_problem(9)
    exact = enumeration.run(problem, EnumerateParameters())
    own = joint.run(problem, replace(FEWER, bins=7), 3)
    assert own.hits_low.values.tolist() == [0, 3, 6, 9, 12, 15, 18]
    g = relative(exact.log_g_joint.values[-1])
    sums = np.logaddexp.reduceat(g, own.hits_low.values)
    judged = own.log_p_given_fit_stderr.values > 1e-6
    difference = own.log_p_given_fit.values[judged] - sums[judged]
    z = difference / own.log_p_given_fit_stderr.values[judged]
    assert np.abs(z).max() < 4


@pytest.mark.slow
def test_threads_do_not_change_the_result():
    problem, parameters = random_problem(6), replace(MANY, members=10, populations=3)
    one = joint.run(problem, parameters, 2)
    assert one.identical(joint.run(problem, parameters, 2, threads=2))


def test_a_rule_that_an_anneal_passes_by_is_not_believed_away():
    solved = perceptron_with_rule(60, 60, 28)
    parameters = JointParameters(members=50, rung_sweeps=1, max_anneals=2)
    own = joint.run(solved.problem, parameters, 1)
    assert own.log_volume_of_way[0] < solved.log_p[-1] - 2
    assert not own.converged
    assert "populations pulled towards trained networks found" in own.attrs["verdict"]


def test_ways_that_know_other_volumes_of_the_same_fits_disagree():
    """Two ways over three fits of 20 test scores each, the second wrong by a factor."""
    problem = random_problem(9)
    view = joint._View(joint.Classification.over_accuracy(problem, 3), None)
    levels, rng = view.system.grid.size, np.random.default_rng(0)

    def populations(shift):
        share = np.exp(0.1 * rng.standard_normal((8, levels))) / levels
        log_z = np.full((8, 1), shift)
        return Populations(
            [Way(np.zeros(levels), np.zeros(1), log_z, log_z[0], share)],
            view.system.grid.goal,
            np.zeros((8, 1)),
        )

    same, other = populations(0.0), populations(0.0)
    assert joint._agreement(view, same, other) > 1e-3
    assert joint._agreement(view, same, populations(1.0)) < 1e-6


def test_without_a_fit_there_is_nothing_to_tell():
    problem = random_problem(6)
    unfit = replace(
        problem,
        x_train=np.concatenate([problem.x_train[:1]] * 2),
        y_train=np.array([0, 1]),
    )
    own = joint.run(unfit, replace(MANY, members=10, populations=3), 1)
    assert not own.converged and "no weight setting with A = n" in own.attrs["verdict"]
    assert np.isnan(own.log_volume) and np.isnan(own.test_accuracy)
