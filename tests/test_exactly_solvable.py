"""rewl on large problems whose density of states is known in closed form.

`pytest -n0 -m long -s` runs the largest ones too, and prints how they came out.
"""

import time

import numpy as np
import pytest
from exactly_solvable import (
    hidden_layer_of_blocks,
    perceptron_of_blocks,
    perceptron_of_shared_blocks,
)

from volumetry.methods import enumeration, rewl
from volumetry.methods.enumeration import Parameters as EnumerateParameters
from volumetry.methods.rewl import Parameters as RewlParameters

SMALL = [
    (perceptron_of_blocks, (3, 3, 2, 1)),
    (perceptron_of_blocks, (2, 2, 4, 1)),
    (perceptron_of_shared_blocks, (3, 3, 3, 1)),
    (perceptron_of_shared_blocks, (2, 5, 2, 2)),
    (hidden_layer_of_blocks, (3, 2, 2, 1)),
    (hidden_layer_of_blocks, (2, 2, 3, 1)),
]


@pytest.mark.parametrize(("family", "arguments"), SMALL)
def test_closed_forms_equal_enumeration(family, arguments):
    solved = family(*arguments)
    exact = enumeration.run(solved.problem, EnumerateParameters())
    log_p = exact.log_g.values - solved.problem.network.n_weights * np.log(2)
    seen = np.isfinite(log_p)
    assert np.array_equal(seen, np.isfinite(solved.log_p))
    np.testing.assert_allclose(log_p[seen], solved.log_p[seen], atol=1e-12)
    if seen[-1]:
        assert exact.test_accuracy == pytest.approx(solved.accuracy, abs=1e-12)


def compare(solved, parameters, seed, threads=1):
    """Error of ln V and of the accuracy, both with their standard errors; z over all A."""
    start = time.monotonic()
    estimate = rewl.run(solved.problem, parameters, seed, threads=threads)
    seconds = time.monotonic() - start
    error = float(estimate.log_volume) - solved.log_p[-1]
    stderr = float(estimate.log_volume_stderr)
    log_p = estimate.log_g.values - solved.problem.network.n_weights * np.log(2)
    seen = np.isfinite(log_p)
    z = (log_p[seen] - solved.log_p[seen]) / estimate.log_g_stderr.values[seen]
    print(
        f"M = {solved.problem.network.n_weights:,}, ln V = {solved.log_p[-1]:.3f}: found "
        f"{float(estimate.log_volume):.3f} +- {stderr:.3f}, {error / stderr:+.2f} standard errors; "
        f"largest |z| over A {np.abs(z).max():.2f}; {seconds:.0f} s; {estimate.attrs['verdict']}"
    )
    return estimate, error, stderr, z


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        (perceptron_of_blocks, (60, 5, 2)),
        (perceptron_of_blocks, (40, 4, 5)),
        (perceptron_of_shared_blocks, (15, 8)),
    ],
)
def test_log_volume_of_medium_problems(family, arguments):
    solved = family(*arguments)
    estimate, error, stderr, z = compare(solved, RewlParameters(), 1)
    assert estimate.converged, estimate.attrs["verdict"]
    assert solved.log_p[-1] < -25
    assert abs(error) < min(0.5, 4 * stderr)
    assert np.abs(z).max() < 4.5
    accuracy_error = abs(float(estimate.test_accuracy) - solved.accuracy)
    assert accuracy_error <= 4 * float(estimate.test_accuracy_stderr)


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        (perceptron_of_blocks, (580, 10, 2)),
        (perceptron_of_blocks, (174, 6, 10)),
        (perceptron_of_shared_blocks, (260, 20)),
    ],
)
def test_log_volume_of_large_problems(family, arguments):
    """More than 10,000 weights and ln V below -400, to 0.5 nats."""
    solved = family(*arguments)
    assert solved.problem.network.n_weights > 10_000 and solved.log_p[-1] < -400
    parameters = RewlParameters(ln_v_error=0.2 / abs(solved.log_p[-1]))
    estimate, error, stderr, _ = compare(solved, parameters, 1, threads=2)
    assert estimate.converged, estimate.attrs["verdict"]
    assert abs(error) < min(0.5, 3 * stderr)


@pytest.mark.long
def test_a_shared_layer_is_slow_but_not_wrong():
    """Output weights shared by all examples hardly move at large A: the slow mode of a network."""
    solved = hidden_layer_of_blocks(80, 4, 5)
    _, error, stderr, _ = compare(solved, RewlParameters(ln_v_error=0.002), 1, threads=2)
    assert abs(error) < 3 * stderr
