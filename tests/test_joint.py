"""joint against enumeration over (A, Q), and against rewl."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from enumeration import random_problem

from volumetry.errors import DataError
from volumetry.methods import enumeration, joint, rewl
from volumetry.methods.enumeration import Parameters as EnumerateParameters
from volumetry.methods.joint import Parameters as JointParameters
from volumetry.methods.rewl import Parameters as RewlParameters
from volumetry.networks.forward import count_correct

THOROUGH = JointParameters(
    rung_sweeps=20, settle_sweeps=100, block_sweeps=20, min_blocks=40, max_blocks=100
)
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
    """(exact, rewl, joint) of every problem that has a fit."""
    results = []
    for number in PROBLEMS:
        problem = random_problem(number)
        exact = enumeration.run(problem, EnumerateParameters())
        if np.isfinite(exact.log_volume):
            reference = rewl.run(problem, RewlParameters(max_blocks=100), number)
            own = joint.run(problem, THOROUGH, number, sources={"rewl": reference})
            results.append((exact, reference, own))
    assert sum(int(own.converged) for *_, own in results) >= 8
    return results


def test_joint_density_agrees_with_enumeration(compared):
    z, covered = [], 0
    for exact, _, own in compared:
        g = relative(exact.log_g_joint.values[int(own.A[0]) :])
        found = relative(own.log_g_joint.values)
        assert not np.isfinite(found[~np.isfinite(g)]).any()  # nothing that is not there
        judged = np.isfinite(own.log_g_joint_stderr.values)
        covered += np.logaddexp.reduce(g[judged]) > np.log(0.95)
        z.extend((found[judged] - g[judged]) / own.log_g_joint_stderr.values[judged])
    assert covered >= 8  # nearly all of the density has an error bar
    assert len(z) > 300
    assert 0.6 < np.mean(np.square(z)) < 1.5
    assert np.abs(z).max() < 5
    assert np.mean(np.abs(z) < 1.96) > 0.9


def test_distribution_of_the_interpolators_agrees_with_enumeration(compared):
    z = []
    for exact, _, own in compared:
        g = relative(exact.log_g_joint.values[-1])
        judged = own.log_p_given_fit_stderr.values > 0  # 0 for a single possible accuracy
        difference = own.log_p_given_fit.values[judged] - g[judged]
        z.extend(difference / own.log_p_given_fit_stderr.values[judged])
    assert len(z) > 40
    assert 0.5 < np.mean(np.square(z)) < 1.6
    assert np.abs(z).max() < 4.5


def test_scale_and_mean_agree_with_rewl(compared):
    for exact, reference, own in compared:
        assert own.reference_agreement > 1e-4
        volume = np.logaddexp.reduce(own.log_g_joint.values[-1])
        error = np.hypot(reference.log_g_stderr.values[-1], 0.1)
        assert abs(volume - exact.log_g.values[-1]) < 5 * error
        error = np.hypot(own.test_accuracy_stderr, reference.test_accuracy_stderr) + 1e-9
        assert abs(own.test_accuracy - reference.test_accuracy) < 4.5 * error


def test_tail_volumes_of_networks_are_those_of_enumeration():
    problem = random_problem(9)
    exact = enumeration.run(problem, EnumerateParameters())
    fits = all_fits(problem)
    hits = [count_correct(problem.network, w, problem.x_test, problem.y_test) for w in fits]
    states = fits[[np.argmax(hits), np.argmin(hits), 0]]
    sources = {
        "rewl": rewl.run(problem, RewlParameters(max_blocks=100), 1),
        "gd": trained(problem, states),
    }
    own = joint.run(problem, THOROUGH, 1, sources=sources)
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


def test_bins_are_sums_over_their_test_counts(compared):
    exact, reference, _ = compared[2]
    problem = random_problem(9)
    own = joint.run(problem, replace(THOROUGH, bins=7), 3, sources={"rewl": reference})
    assert own.hits_low.values.tolist() == [0, 3, 6, 9, 12, 15, 18]
    g = relative(exact.log_g_joint.values[-1])
    sums = np.logaddexp.reduceat(g, own.hits_low.values)
    judged = np.isfinite(own.log_p_given_fit_stderr.values)
    difference = own.log_p_given_fit.values[judged] - sums[judged]
    z = difference / own.log_p_given_fit_stderr.values[judged]
    assert np.abs(z).max() < 4


def test_threads_do_not_change_the_result():
    problem = random_problem(6)
    sources = {"rewl": rewl.run(problem, RewlParameters(max_blocks=12), 1)}
    parameters = JointParameters(min_blocks=4, max_blocks=4)
    one = joint.run(problem, parameters, 2, sources=sources)
    assert one.identical(joint.run(problem, parameters, 2, threads=2, sources=sources))


def test_a_fit_that_rewl_never_saw_is_no_place_to_start():
    problem = random_problem(6)
    reference = rewl.run(problem, RewlParameters(max_blocks=12), 1)
    reference["log_g"][-3:] = -np.inf
    with pytest.raises(DataError, match=r"rewl met no A from .* raise rewl's budget"):
        joint.run(problem, JointParameters(band=2), 2, sources={"rewl": reference})
