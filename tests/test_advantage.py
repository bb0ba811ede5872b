"""The advantage at every protocol and on every scale, against values worked out by hand."""

import numpy as np
import pytest
import xarray as xr
from made_runs import T1, accuracies, bounded, cell, trained, write_run
from made_studies import networks
from scipy import stats

from volumetry.results import statistics
from volumetry.results.aggregate import aggregate


def test_the_advantage_is_read_at_every_protocol_on_every_scale(tmp_path):
    """Two networks, N = 1,000: accuracies by hand, and errors with half an example added."""
    files = trained(tmp_path, {10: [([0.4, 0.5], [0.6, 0.8], [0.7, 0.8])]})
    files += accuracies(tmp_path, "rewl", {10: [0.4]}, test_accuracy_df=3)
    study = aggregate(files)
    by = study["advantage_by"].sel(n=10, sampler="gd").squeeze(drop=True)
    np.testing.assert_allclose(by.sel(scale="accuracy"), [0.05, 0.3, 0.35], atol=1e-6)
    wrong = [(1000 * (1 - q) + 0.5) / 1001 for q in (0.4, 0.45, 0.7, 0.75)]
    expected = np.log(wrong[0]) - np.log(wrong[1:])
    np.testing.assert_allclose(by.sel(scale="log_error"), expected, atol=1e-6)
    assert by.sel(scale="rareness").isnull().all()
    assert study["reported_protocol"].sel(sampler="gd") == "best_validation"
    # Welch: 0.05^2 of two networks, 0.01^2 with three degrees of freedom.
    error = np.hypot(0.05, 0.01)
    df = error**4 / (0.05**4 + 0.01**4 / 3)
    here = {"n": 10, "sampler": "gd", "protocol": "best_validation", "scale": "accuracy"}
    low, high = bounded(0.35, stats.t.ppf(0.975, df) * error, -1)
    assert cell(study, "advantage_by_low", **here) == pytest.approx(low, abs=1e-5)
    assert cell(study, "advantage_by_high", **here) == pytest.approx(high, abs=1e-5)
    assert cell(study, "advantage", n=10, sampler="gd") == pytest.approx(0.35)


def test_trend_of_the_advantage_is_paired_over_the_sizes_that_have_one(tmp_path):
    def alike(*accuracy):
        return [([q, q], [q, q], [q, q]) for q in accuracy]

    nowhere = alike(np.nan, np.nan)
    files = trained(tmp_path, {10: alike(0.5, 0.6), 20: alike(0.6, 0.66), 40: nowhere})
    files += accuracies(tmp_path, "rewl", {10: [0.3, 0.3], 20: [0.5, 0.48], 40: [0.7, 0.7]})
    study = aggregate(files)
    # Advantages 0.2, 0.3 at n = 10 and 0.1, 0.18 at n = 20: changes -0.10 and -0.12.
    half = T1 * np.std([0.10, 0.12], ddof=1) / np.sqrt(2)
    here = {"sampler": "gd", "protocol": "final", "scale": "accuracy"}
    for end, change in (("", -0.11), ("_low", -0.11 - half), ("_high", -0.11 + half)):
        found = cell(study, f"advantage_trend{end}", **here)
        assert found == pytest.approx(change / np.log(2), abs=1e-6)
    assert cell(study, "advantage_trend_first_n", **here) == 10
    assert cell(study, "advantage_trend_last_n", **here) == 20


def test_trend_is_a_least_squares_slope_with_the_error_of_its_runs():
    n = xr.DataArray([10, 20, 80], dims="n", coords={"n": [10, 20, 80]})
    values = xr.DataArray([[3.0], [2.5], [0.5]], dims=("n", "replicate"), coords={"n": n})
    stderr, df = 0 * values + 0.1, 0 * values + 4
    found = statistics.trend(values, stderr, df, 0 * values + 1)
    fit = stats.linregress(np.log(n), values[:, 0])
    assert found["slope"].item() == pytest.approx(fit.slope)
    weight = (np.log(n) - np.log(n).mean()) / ((np.log(n) - np.log(n).mean()) ** 2).sum()
    assert found["stderr"].item() == pytest.approx(0.1 * np.sqrt((weight**2).sum()))
    assert found["df"].item() == pytest.approx(4 * (weight**2).sum() ** 2 / (weight**4).sum())


def test_one_size_has_no_trend(tmp_path):
    files = trained(tmp_path, {10: [([0.5], [0.5], [0.5])]})
    files += accuracies(tmp_path, "rewl", {10: [0.4]})
    assert aggregate(files)["advantage_trend"].isnull().all()


def test_what_the_epochs_after_the_fit_add(tmp_path):
    looks = {0: [0.4, 0.5], 1: [0.5, 0.6], 3: [0.6, np.nan]}
    extra = networks([0.4, 0.5], [0.6, 0.6], [0.6, 0.6], looks)
    files = [write_run(tmp_path, "gd", 10, 0, extra=extra, test_accuracy=0.6)]
    files += accuracies(tmp_path, "rewl", {10: [0.3]}, test_accuracy_df=3)
    study = aggregate(files)
    after = study["advantage_after_fit"].sel(n=10, sampler="gd").squeeze(drop=True)
    np.testing.assert_allclose(after, [0.15, 0.25, 0.3])
    np.testing.assert_array_equal(after["epochs_after_fit"], [0, 1, 3])
    known = study["accuracy_after_fit_df"].sel(n=10, sampler="gd").squeeze(drop=True)
    np.testing.assert_array_equal(known, [1, 1, 0])  # of networks that were still trained


def test_networks_are_ranked_among_the_interpolators(tmp_path):
    """Ten interpolators with 300, 400 and 500 of 1,000 right: five, three and two of them."""
    counts = np.zeros(1001)
    counts[[300, 400, 500]] = 5, 3, 2
    files = trained(tmp_path, {10: [([0.2, 0.4], [0.45, 0.5], [0.6, np.nan])]})
    files.append(
        write_run(
            tmp_path,
            "rewl",
            10,
            0,
            test_accuracy=0.37,
            log_volume=-9.0,
            extra={"test_counts": ("test_correct", counts)},
        )
    )
    study = aggregate(files)
    rank = study["network_rank"].sel(n=10, sampler="gd").squeeze(drop=True)
    np.testing.assert_allclose(rank, [[1, 0.2, 0], [0.35, 0.1, np.nan]], atol=1e-6)
    above = study["interpolators_above"].squeeze(drop=True)
    np.testing.assert_allclose(
        above.sel(accuracy=[0.3, 0.305, 0.4, 0.5, 0.505]), [1, 0.5, 0.5, 0.2, 0]
    )
