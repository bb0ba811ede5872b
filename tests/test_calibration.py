"""Do error bars mean what they say? Hundreds of problems against exhaustive enumeration.

`pytest -n0 -m long -s tests/test_calibration.py` prints the table.
"""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from enumeration import random_problem

from volumetry.methods import enumeration, rewl
from volumetry.methods.enumeration import Parameters as EnumerateParameters
from volumetry.methods.rewl import Parameters as RewlParameters

PROBLEMS = 400


def compare(number):
    """z of ln g(A) and of the accuracy at A; whether the same A were found; A without an error."""
    problem = random_problem(number)
    exact = enumeration.run(problem, EnumerateParameters())
    estimate = rewl.run(problem, RewlParameters(max_blocks=100), 10_000 + number)
    reachable = np.isfinite(exact.log_g.values)
    same = np.array_equal(reachable, np.isfinite(estimate.log_g.values))
    z_log_g, unknown = np.zeros(0), 0
    if reachable.sum() > 1 and same:
        difference = (estimate.log_g - exact.log_g).values[reachable]
        z_log_g = difference / estimate.log_g_stderr.values[reachable]
        unknown = int((~np.isfinite(z_log_g)).sum())
    error = estimate.accuracy_given_A_stderr.values
    use = (estimate.tests_at_A.values >= 100) & (error > 1e-6)
    difference = (estimate.accuracy_given_A - exact.accuracy_given_A).values
    return z_log_g[np.isfinite(z_log_g)], difference[use] / error[use], same, unknown


@pytest.mark.long
def test_intervals_cover_what_they_claim():
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(compare, range(PROBLEMS)))
    found = sum(same for _, _, same, _ in results)
    unknown = sum(count for *_, count in results)
    print(f"\n{PROBLEMS} random problems of 8 to 16 weights; in {found} the same A were found;")
    print(f"{unknown} values of ln g without an error, because one group alone met that A")
    print(f"{'':8}{'values':>8}{'chi2/value':>12}{'mean z':>8}{'68 %':>8}{'95 %':>8}{'max |z|':>9}")
    for name, z in (
        ("ln g(A)", np.concatenate([r[0] for r in results])),
        ("Qr(A)", np.concatenate([r[1] for r in results])),
    ):
        chi2 = np.mean(z**2)
        cover = [np.mean(np.abs(z) < limit) for limit in (0.9945, 1.96)]
        print(
            f"{name:8}{len(z):8}{chi2:12.3f}{z.mean():8.3f}{cover[0]:8.3f}{cover[1]:8.3f}"
            f"{np.abs(z).max():9.2f}"
        )
        assert 0.8 < chi2 < 1.25
        assert 0.92 < cover[1] < 0.98
    assert found >= 0.99 * PROBLEMS
    assert unknown < 20
