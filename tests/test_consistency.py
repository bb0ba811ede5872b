"""The checks of a study against itself find what is wrong, and only that."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from test_results import cell, write_run

from volumetry.estimate.confidence import LEAST_HITS, clopper_pearson, hit_tails
from volumetry.report import findings, page
from volumetry.results import statistics
from volumetry.results.aggregate import aggregate
from volumetry.results.consistency import hits_p_value
from volumetry.results.roles import MEASURING

# ---- draws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hits, draws", [(0, 50), (1, 50), (49, 50), (50, 50)])
def test_clopper_pearson_is_the_exact_interval(hits, draws):
    exact = stats.binomtest(hits, draws).proportion_ci(method="exact")
    np.testing.assert_allclose(clopper_pearson(hits, draws), [exact.low, exact.high])


def test_clopper_pearson_of_nothing_is_nan():
    assert np.isnan(clopper_pearson(np.nan, 5)).all()


def test_no_hit_bounds_the_volume_on_two_sides():
    """ln(3 / G) would be a one-sided limit: what it excludes happens in 5 % of all runs above it,
    where each end of an interval may be missed in 2.5 %."""
    assert clopper_pearson(0, 10**6) == (0, pytest.approx(3.689 / 10**6, rel=1e-3))
    assert (1 - clopper_pearson(0, 1000)[1]) ** 1000 == pytest.approx(0.025)


def outcomes(volume, wanted, most):
    """(hits, draws, whether the draws ended with a hit, probability) of draws that stop at
    ``wanted`` hits or at ``most`` draws."""
    for hits in range(wanted):
        yield hits, most, False, stats.binom.pmf(hits, most, volume)
    for draws in range(wanted, most + 1):
        last = volume * stats.binom.pmf(wanted - 1, draws - 1, volume)
        yield wanted, draws, True, last


@pytest.mark.parametrize("volume", [0.01, 0.03, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("wanted, most", [(3, 60), (100, 60), (10, 400)])
def test_intervals_and_p_values_hold_however_the_draws_ended(volume, wanted, most):
    """By listing everything that can happen: at most 2.5 % beyond each end, 5 % with p < 0.05."""
    total, above, below, rare = np.zeros(4)
    for hits, draws, stopped, probability in outcomes(volume, wanted, most):
        low, high = clopper_pearson(hits, draws, stopped)
        p = hits_p_value(hits, draws, stopped, np.log(volume), 0.0, np.inf)
        total += probability
        above += probability * (volume > high)
        below += probability * (volume < low)
        rare += probability * (p < 0.05)
    assert total == pytest.approx(1)
    assert above <= 0.025 and below <= 0.025 and rare <= 0.05
    assert above + below == pytest.approx(rare, abs=1e-9)  # the same test, turned round


def test_draws_that_end_with_a_hit_are_not_binomial():
    """For three hits in 30 draws, the last of them a hit, a volume may be smaller at the top."""
    assert clopper_pearson(3, 30, True)[1] < clopper_pearson(3, 30)[1]
    few, many = hit_tails(3, 30, np.array([0.1]), stopped_at_hit=True)
    assert few[0] == pytest.approx(stats.binom.cdf(2, 29, 0.1))
    assert many[0] == pytest.approx(stats.binom.sf(2, 30, 0.1))


def test_the_error_of_a_log_volume_enters_the_p_value():
    """No hit in 1000 draws, where 20 are expected: impossible, unless ln V is known to +- 2."""
    log_volume = np.log(20 / 1000)
    assert hits_p_value(0, 1000, False, log_volume, 0.0, np.inf) == pytest.approx(
        2 * (1 - 0.02) ** 1000
    )
    known = hits_p_value(0, 1000, False, log_volume, 0.5, np.inf)
    estimated = hits_p_value(0, 1000, False, log_volume, 0.5, 3)
    wide = hits_p_value(0, 1000, False, log_volume, 2.0, 3)
    assert 1e-4 < known < 1e-3 < 0.005 < estimated < 0.02 < 0.1 < wide < 0.5
    # By simulation.
    rng = np.random.default_rng(0)
    volume = np.exp(np.minimum(log_volume + 0.5 * rng.standard_t(3, 2_000_000), 0))
    assert estimated == pytest.approx(2 * np.mean((1 - volume) ** 1000), rel=0.05)
    assert np.isnan(hits_p_value(0, np.nan, False, log_volume, 0.1, 3))
    assert np.isnan(hits_p_value(0, 10, False, log_volume, np.nan, 3))


def test_p_values_of_uncertain_volumes_are_uniform():
    """Volumes estimated with an error from four sets, and draws from the true one."""
    rng = np.random.default_rng(1)
    p = []
    for _ in range(1500):
        truth = rng.uniform(-6, -2)
        sets = truth + rng.normal(0, 0.8, 4)
        error = sets.std(ddof=1) / 2
        hits = rng.binomial(20_000, np.exp(truth))
        p.append(hits_p_value(hits, 20_000, False, sets.mean(), error, 3))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_least_number_of_hits_is_what_its_derivation_says():
    """All log-volumes as likely beforehand: bias and error of ln(h / draws) for h hits."""
    rng = np.random.default_rng(2)
    log_expected = rng.uniform(-12, 6, 4_000_000)
    hits = rng.poisson(np.exp(log_expected))
    for count, bias in ((1, 0.577), (LEAST_HITS, 0.0508)):
        off = np.log(count) - log_expected[hits == count]
        assert off.mean() == pytest.approx(bias, abs=4 * off.std() / np.sqrt(off.size))
    assert off.mean() < off.std() / 6
    # One hit where 0.3 are expected.
    assert np.log(1 / 0.3) == pytest.approx(1.2, abs=0.01)


# ---- volumes against draws, and against each other ----------------------------------------------


def guess_and_check(folder, n, replicate, hits, guesses, **more):
    value = {"log_volume": np.log(hits / guesses)} if hits else {}
    value |= {} if hits else {"log_volume_upper": np.log(clopper_pearson(0, guesses)[1])}
    extra = {"hits": hits, "stopped_at_hit": np.int8(0)} | more
    numbers = {"converged": hits >= LEAST_HITS, "guesses": guesses} | value
    return write_run(folder, "guess_and_check", n, replicate, extra=extra, **numbers)


@pytest.mark.parametrize("shift, contradicts", [(0.0, False), (5.0, True)])
def test_a_run_without_a_hit_contradicts_a_volume_that_is_too_large(tmp_path, shift, contradicts):
    """In 10^5 guesses at ln V = -12 there is no hit; at -7 there would be 91."""
    files = [guess_and_check(tmp_path, 40, 0, 0, 100_000)]
    for sampler in MEASURING:
        numbers = {"log_volume": -12 + shift, "log_volume_stderr": 0.3, "log_volume_df": 31}
        files.append(write_run(tmp_path, sampler, 40, 0, test_accuracy=0.5, **numbers))
    study = aggregate(files)
    for sampler in MEASURING:
        p = cell(study, "hits_p", n=40, replicate=0, sampler=sampler)
        assert (p < 1e-4) == contradicts and (p > 0.1) != contradicts
    said = findings.guess_and_check_agreement(study)
    assert "1 of them without a hit" in said and ("they contradict it" in said) == contradicts
    cautions = " ".join(findings.cautions(study))
    assert ("contradict the log-volume of Random interpolator (REWL)" in cautions) == contradicts


def test_hits_are_judged_by_how_the_guesses_ended(tmp_path):
    files = [
        guess_and_check(tmp_path, 4, 0, 3, 30),
        guess_and_check(tmp_path, 4, 1, 3, 30, stopped_at_hit=np.int8(1)),
        *(
            write_run(tmp_path, "enumerate", 4, r, log_volume=np.log(0.25), log_volume_stderr=0.0)
            for r in range(2)
        ),
    ]
    study = aggregate(files)
    where = {"n": 4, "sampler": "enumerate"}
    binomial, negative = (cell(study, "hits_p", **where, replicate=r) for r in range(2))
    assert binomial == pytest.approx(2 * stats.binom.cdf(3, 30, 0.25))
    assert negative == pytest.approx(2 * stats.binom.cdf(2, 29, 0.25))
    where["sampler"] = "guess_and_check"
    for replicate in range(2):
        ends = [
            cell(study, f"log_volume_{e}", **where, replicate=replicate) for e in ("low", "high")
        ]
        np.testing.assert_allclose(np.exp(ends), clopper_pearson(3, 30, replicate == 1))
        assert np.isnan(cell(study, "hits_p", **where, replicate=replicate))


def test_each_two_samplers_that_measure_a_volume_are_compared(tmp_path):
    files = [
        write_run(
            tmp_path,
            sampler,
            10,
            0,
            log_volume=-20.0 - k,
            log_volume_stderr=0.0 if sampler == "enumerate" else 0.5,
            log_volume_df=np.inf if sampler == "enumerate" else 3,
            test_accuracy=0.5,
            test_accuracy_stderr=0.01,
        )
        for k, sampler in enumerate(MEASURING)
    ]
    study = aggregate([*files, write_run(tmp_path, "gd", 10, 0, test_accuracy=0.9)])
    pairs = [f"{a} - {b}" for k, a in enumerate(MEASURING) for b in MEASURING[k + 1 :]]
    assert study["pair"].values.tolist() == pairs
    assert len(findings.checks(study)) == 2 * len(pairs)
    a = MEASURING.index("enumerate")
    z = cell(study, "volume_z", n=10, replicate=0, pair="rewl - enumerate")
    # t = a / 0.5 with three degrees of freedom, as the normal deviate that is as rare.
    assert z == pytest.approx(stats.norm.isf(stats.t.sf(a / 0.5, 3))) and z < a / 0.5
    accuracy = cell(study, "accuracy_z", n=10, replicate=0, pair="rewl - enumerate")
    assert accuracy == pytest.approx(0, abs=1e-12)


def test_normal_scores_of_estimated_errors_are_normal():
    """Errors from four sets each: differences over their errors are not, their scores are."""
    rng = np.random.default_rng(3)
    sets = xr.DataArray(rng.normal(size=(2, 4, 20_000)), dims=("run", "set", "case"))
    mean, error = sets.mean("set"), sets.std("set", ddof=1) / 2
    compared = statistics.difference(mean[0], mean[1], error[0], error[1], 3.0, 3.0)
    score = statistics.normal_score(*compared)
    assert np.mean(np.abs(score) < 1.96) == pytest.approx(0.95, abs=0.01)
    assert np.mean(np.abs(compared[0] / compared[1]) < 1.96) < 0.92
    known = statistics.normal_score(xr.DataArray([1.5, -50.0]), 1.0, np.inf)
    np.testing.assert_allclose(known, [1.5, -50.0])


# ---- slope and accuracy -------------------------------------------------------------------------

ACCURACY = {80: [0.63, 0.65, 0.64], 160: [0.75, 0.77, 0.76]}
VOLUME = {80: [-90.0, -95.0, -88.0], 160: [-120.0, -123.5, -117.5]}
"""Slopes of 0.375, 0.356 and 0.369; -ln Qr falls from 0.45 to 0.27. Replicates differ by more."""


def sloped(folder, shift=0.0, replicates=3):
    """Runs of rewl whose ln V at n = 160 is off by ``shift`` nats."""
    folder.mkdir(exist_ok=True)
    return aggregate(
        write_run(
            folder,
            "rewl",
            n,
            r,
            log_volume=VOLUME[n][r] + shift * (n == 160),
            log_volume_stderr=0.5,
            test_accuracy=ACCURACY[n][r],
            test_accuracy_stderr=0.002,
        )
        for n in VOLUME
        for r in range(replicates)
    )


def test_the_slope_is_compared_in_each_replicate(tmp_path):
    study = sloped(tmp_path)
    slopes = (np.array(VOLUME[80]) - np.array(VOLUME[160])) / 80
    for end, n in (("first", 80), ("last", 160)):
        above = slopes + np.log(ACCURACY[n])
        half = stats.t.ppf(0.975, 2) * above.std(ddof=1) / np.sqrt(3)
        assert cell(study, f"slope_above_{end}", n=160) == pytest.approx(above.mean())
        assert cell(study, f"slope_above_{end}_high", n=160) == pytest.approx(above.mean() + half)
        # Unpaired, the spread of the volumes would enter four times over.
        assert half < 0.3 * stats.t.ppf(0.975, 2) * np.std(VOLUME[160], ddof=1) / 80
    assert cell(study, "slope_side", n=160) == 0
    assert np.isnan(cell(study, "slope_side", n=80))  # its step begins at 0


def test_an_error_beyond_the_detectable_one_is_noticed(tmp_path):
    """On either side, and one that is smaller is not: the detectable error is what it says."""
    sound = sloped(tmp_path / "sound")
    large, small = (cell(sound, f"slope_too_{way}", n=160) for way in ("large", "small"))
    assert 5 < large < 15 and 2 < small < 15
    for factor, sides in ((0.99, (0, 0)), (1.01, (-1, 1)), (3.0, (-1, 1))):
        for shift, side in zip((factor * large, -factor * small), sides):
            assert cell(sloped(tmp_path / "off", shift), "slope_side", n=160) == side
    assert findings.cautions(sound) == []
    off = sloped(tmp_path / "off", 3 * large)
    (said,) = findings.cautions(off)
    assert said.startswith("In 1 step between sizes the log-volume falls too slowly")
    assert "0 above both, and 1 below both" in findings.slope_agreement(off)
    assert findings.steps(off)[0][5] == "below both: contradiction"
    assert "below both: contradiction" in page.render(off, None, "")


def test_the_detectable_error_is_printed(tmp_path):
    study = sloped(tmp_path)
    large, small = (cell(study, f"slope_too_{way}", n=160) for way in ("large", "small"))
    said = findings.slope_agreement(study)
    assert f"{large:.2g} nats more" in said and f"{small:.2g} nats less" in said
    (row,) = findings.steps(study)
    assert row[:3] == ("digits", "simple_cnn", "80 to 160")
    assert row[-2:] == (f"{large:.2g}", f"{small:.2g}")


def test_one_replicate_cannot_be_compared(tmp_path):
    """Slope and accuracy agree on average over examples, and one draw of them is no average."""
    study = sloped(tmp_path, replicates=1)
    assert study["slope_side"].isnull().all() and study["slope_too_large"].isnull().all()
    assert "two replicates" in findings.slope_agreement(study)


def test_a_step_begins_at_the_next_smaller_size_there_is():
    volume = xr.DataArray(
        [[[-1.0, np.nan], [np.nan, np.nan], [np.nan, -3.0], [-4.0, -4.5]]],
        dims=("dataset", "n", "replicate"),
        coords={"n": [4, 8, 16, 32]},
    )
    start = statistics.step_start(volume)
    np.testing.assert_array_equal(start, [[0, np.nan, 4, 16]])
    before = statistics.at_start(volume, start, 0.0)
    np.testing.assert_array_equal(before[0], [[0, 0], [np.nan] * 2, [-1, np.nan], [np.nan, -3]])
