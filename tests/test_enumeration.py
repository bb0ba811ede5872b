"""The exact sampler against plain evaluation of every weight setting."""

import numpy as np
import pytest
from enumeration import plain_counts, random_problem

from volumetry.errors import NetworkError
from volumetry.methods import enumeration
from volumetry.methods.enumeration import Parameters as EnumerateParameters

SMALL = [number for number in range(39) if random_problem(number).network.n_weights <= 11]


@pytest.mark.parametrize("number", SMALL)
def test_counts_equal_those_of_plain_evaluation(number):
    problem = random_problem(number)
    result = enumeration.run(problem, EnumerateParameters())
    counts = plain_counts(problem)
    with np.errstate(divide="ignore"):
        assert np.array_equal(result.log_g_joint, np.log(counts))
        assert np.array_equal(result.log_g, np.log(counts.sum(axis=1)))
    total = counts.sum(axis=1)
    seen = total > 0
    accuracy = (counts @ np.arange(21))[seen] / total[seen] / 20
    np.testing.assert_allclose(result.accuracy_given_A[seen], accuracy, rtol=1e-14)
    assert np.isnan(result.accuracy_given_A[~seen]).all()
    if seen[-1]:
        volume = total[-1] / 2**problem.network.n_weights
        assert result.log_volume == pytest.approx(np.log(volume), abs=1e-12)
        assert result.test_accuracy == pytest.approx(accuracy[-1], rel=1e-14)
        assert result.log_volume_stderr == result.test_accuracy_stderr == 0
    else:
        assert np.isnan(result.log_volume) and np.isnan(result.test_accuracy)
    assert f"{total[-1]} of 2^{problem.network.n_weights}" in result.attrs["verdict"]


def test_several_parts_and_threads_give_the_same(monkeypatch):
    problem = random_problem(9)
    whole = enumeration.run(problem, EnumerateParameters())
    monkeypatch.setattr(enumeration, "_WALK_WEIGHTS", 10)
    assert whole.identical(enumeration.run(problem, EnumerateParameters()))
    assert whole.identical(enumeration.run(problem, EnumerateParameters(), threads=2))


def test_too_many_weights_are_refused():
    with pytest.raises(NetworkError, match=r"all 2\^10 .* max_weights = 9.*rewl"):
        enumeration.run(random_problem(0), EnumerateParameters(max_weights=9))
