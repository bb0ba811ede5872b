"""Aggregation of runs with known numbers, against values worked out by hand."""

import itertools
import json
import tracemalloc

import netCDF4
import numpy as np
import pytest
import xarray as xr
from made_runs import T2, T3, Z, accuracies, bounded, cell, trained, write_run

from volumetry.errors import DataError
from volumetry.results import seconds, statistics
from volumetry.results.aggregate import aggregate
from volumetry.runtime import netcdf
from volumetry.runtime.joblog import write_cost


def test_advantage_is_paired_by_replicate_with_a_student_interval(tmp_path):
    files = accuracies(tmp_path, "gd", {10: [0.5, 0.6, 0.7]})
    files += accuracies(tmp_path, "rewl", {10: [0.4, 0.48, 0.56]})
    study = aggregate(files)
    here = {"n": 10, "sampler": "gd"}
    # Differences 0.10, 0.12, 0.14: mean 0.12, s = 0.02. Unpaired, s would be five times as large.
    half = T2 * 0.02 / np.sqrt(3)
    assert cell(study, "advantage", **here) == pytest.approx(0.12)
    low, high = bounded(0.12, half, -1)
    assert cell(study, "advantage_low", **here) == pytest.approx(low)
    assert cell(study, "advantage_high", **here) == pytest.approx(high)
    assert cell(study, "advantage_replicates", **here) == 3
    assert cell(study, "advantage_replicate", **here, replicate=2) == pytest.approx(0.14)
    inner = cell(study, "advantage_replicate_stderr", **here, replicate=2)
    assert inner == pytest.approx(0.01 * np.sqrt(2))
    assert study["advantage"].sel(sampler="rewl").isnull().all()


def test_architectures_are_compared_replicate_by_replicate(tmp_path):
    """Interpolators: 0.1, 0.12, 0.14 better. Trained ones: 0.05 better each. ln V: 2, 3, 4 more."""
    volumes = iter([-9, -8, -7, -7, -5, -3])
    files = []
    for architecture, own, random in (
        ("one", [0.5, 0.6, 0.7], [0.4, 0.48, 0.56]),
        ("two", [0.55, 0.65, 0.75], [0.5, 0.6, 0.7]),
    ):
        common = {"architecture": architecture}
        files += accuracies(tmp_path, "gd", {10: own}, **common)
        for replicate, accuracy in enumerate(random):
            volume = {"log_volume": next(volumes), "log_volume_stderr": 0.1}
            files.append(
                write_run(
                    tmp_path, "rewl", 10, replicate, test_accuracy=accuracy, **volume, **common
                )
            )
    study = aggregate(files)
    here = {"n": 10, "architecture": "two"}
    assert cell(study, "reference_accuracy_contrast", **here) == pytest.approx(0.12)
    low, _ = bounded(0.12, T2 * 0.02 / np.sqrt(3), -1)
    assert cell(study, "reference_accuracy_contrast_low", **here) == pytest.approx(low)
    assert cell(study, "log_volume_contrast", **here) == pytest.approx(3)
    low = cell(study, "log_volume_contrast_low", **here)
    assert low == pytest.approx(3 - T2 * 1 / np.sqrt(3))
    assert cell(study, "test_accuracy_contrast", **here, sampler="gd") == pytest.approx(0.05)
    assert cell(study, "advantage_contrast", **here, sampler="gd") == pytest.approx(-0.07)
    assert study["advantage_contrast"].sel(architecture="one").isnull().all()
    assert study["advantage_contrast"].sel(sampler="rewl").isnull().all()


def test_a_contrast_without_one_of_its_replicates_says_so(tmp_path):
    """Nothing fitted in one run of the second architecture; what is left of its row is a choice."""
    files = []
    for architecture, accuracy in (("one", [0.5, 0.6, 0.7]), ("two", [0.5, 0.6, np.nan])):
        for replicate, own in enumerate(accuracy):
            common = {"architecture": architecture, "converged": bool(np.isfinite(own))}
            common |= {"test_accuracy": own, "log_volume": 10 * own - 20}
            files.append(write_run(tmp_path, "rewl", 10, replicate, **common))
    study = aggregate(files)
    here = {"n": 10, "architecture": "two"}
    for name in ("reference_accuracy", "log_volume"):
        assert cell(study, f"{name}_contrast_replicates", **here) == 2
        assert cell(study, f"{name}_contrast_converged", **here) == 0
    assert study["log_volume_contrast_converged"].sel(architecture="one").isnull().all()


def test_no_reference_has_an_advantage_in_either_architecture(tmp_path):
    """Of one the reference is annealing, since rewl did not converge, of the other rewl."""
    files = []
    for architecture, converged in (("one", False), ("two", True)):
        for sampler, accuracy in (("rewl", 0.4), ("population_annealing", 0.42), ("gd", 0.5)):
            good = {"converged": converged} if sampler == "rewl" else {}
            common = {"architecture": architecture, **good}
            files += accuracies(tmp_path, sampler, {10: [accuracy, accuracy]}, **common)
    contrast = aggregate(files)["advantage_contrast"].sel(architecture="two", n=10).squeeze()
    assert float(contrast.sel(sampler="gd")) == pytest.approx(0.02)
    assert contrast.sel(sampler=["rewl", "population_annealing"]).isnull().all()


def test_one_replicate_uses_the_errors_of_its_runs(tmp_path):
    files = accuracies(tmp_path, "gd", {10: [0.5]}) + accuracies(tmp_path, "rewl", {10: [0.4]})
    study = aggregate(files)
    low, high = bounded(0.1, Z * 0.01 * np.sqrt(2), -1)
    assert cell(study, "advantage_low", n=10, sampler="gd") == pytest.approx(low)
    assert cell(study, "advantage_high", n=10, sampler="gd") == pytest.approx(high)
    assert "one replicate" in study.attrs["intervals"]


def test_one_replicate_has_the_degrees_of_freedom_of_its_runs(tmp_path):
    """Four walker sets and three networks: 3 and 2 degrees of freedom, not infinitely many."""
    files = accuracies(tmp_path, "gd", {10: [0.5]}, test_accuracy_df=2)
    files += accuracies(tmp_path, "rewl", {10: [0.4]}, test_accuracy_df=3)
    study = aggregate(files)
    here = {"n": 10, "sampler": "rewl"}
    _, high = bounded(0.4, T3 * 0.01)
    assert cell(study, "test_accuracy_mean_high", **here) == pytest.approx(high)
    # Welch: (1 + 1)^2 / (1 / 2 + 1 / 3) = 4.8 degrees of freedom, t = 2.6035.
    _, high = bounded(0.1, 2.6035 * 0.01 * np.sqrt(2), -1)
    assert cell(study, "advantage_high", n=10, sampler="gd") == pytest.approx(high, abs=1e-5)
    assert cell(study, "test_accuracy_df", **here, replicate=0) == 3


def test_errors_of_runs_without_a_value_do_not_count():
    interval = statistics.replicate_interval(
        xr.DataArray([np.nan, 3.0, np.nan], dims="replicate"),
        xr.DataArray([9.0, 0.5, 9.0], dims="replicate"),
        xr.DataArray([9.0, 3.0, np.inf], dims="replicate"),
    )
    assert interval["high"].item() == pytest.approx(3 + T3 * 0.5)
    assert interval["replicates"].item() == 1


def test_intervals_do_not_leave_the_range_of_what_they_are_about():
    interval = xr.Dataset({"mean": ("k", [0.9, 1.0, 0.5]), "high": ("k", [1.3, 1.2, 0.6])})
    interval["low"] = 2 * interval["mean"] - interval["high"]
    inside = statistics.within(interval, 0, 1)
    assert (inside["low"] >= 0).all() and (inside["high"] <= 1).all()
    assert inside["high"].values[0] < 1 and inside["low"].values[0] < 0.9
    np.testing.assert_allclose(inside["low"].values[1], 0.8)
    assert (inside["high"] - inside["mean"]).values[2] == pytest.approx(0.1, rel=0.03)
    one_end = statistics.within(interval, 0.6, np.inf)
    np.testing.assert_allclose(one_end["low"], [0.6, 0.8, 0.6])
    np.testing.assert_allclose(one_end["high"], [1.3, 1.2, 0.6])


def test_runs_without_an_accuracy_take_no_part_but_flag_the_mean(tmp_path):
    files = accuracies(tmp_path, "rewl", {10: [0.4, 0.4, 0.4]})
    files += accuracies(tmp_path, "sam", {10: [0.5, 0.7, 0.6]})
    files.append(write_run(tmp_path, "gd", 10, 0, test_accuracy=0.5))
    files.append(write_run(tmp_path, "gd", 10, 1, test_accuracy=0.7))
    files.append(write_run(tmp_path, "gd", 10, 2, converged=False, verdict="never fitted"))
    study = aggregate(files)
    assert cell(study, "advantage", n=10, sampler="gd") == pytest.approx(0.2)
    assert cell(study, "advantage_replicates", n=10, sampler="gd") == 2
    assert cell(study, "advantage_converged", n=10, sampler="gd") == 0
    assert cell(study, "advantage_converged", n=10, sampler="sam") == 1
    assert cell(study, "verdict", n=10, sampler="gd", replicate=2) == "never fitted"


def test_an_unconverged_rewl_flags_every_advantage_over_it(tmp_path):
    same = [([q, q], [q, q], [q, q]) for q in (0.5, 0.6)]
    files = trained(tmp_path, {10: same, 20: same})
    files += accuracies(tmp_path, "rewl", {10: [0.4, 0.4]})
    files += accuracies(tmp_path, "rewl", {20: [0.4, 0.4]}, converged=False)
    study = aggregate(files)
    assert cell(study, "advantage_converged", n=10, sampler="gd") == 1
    assert cell(study, "advantage_converged", n=20, sampler="gd") == 0
    here = {"sampler": "gd", "protocol": "final", "scale": "accuracy"}
    assert cell(study, "advantage_trend_converged", **here) == 0
    assert cell(study, "test_accuracy_mean_converged", n=20, sampler="gd") == 1


def test_slope_of_the_log_volume_starts_at_zero_and_skips_sizes_it_does_not_have(tmp_path):
    files = [
        write_run(tmp_path, "rewl", n, 0, log_volume=v, log_volume_stderr=e, test_accuracy=q)
        for n, v, e, q in [(10, -20.0, 0.3, 0.25), (40, -50.0, 0.4, 0.5)]
    ]
    files.append(write_run(tmp_path, "rewl", 160, 0, log_volume=-80.0, converged=False))
    files.append(write_run(tmp_path, "rewl", 320, 0, log_volume=-90.0))
    files.append(write_run(tmp_path, "rewl", 20, 0, dataset="other", log_volume=-30.0))
    study = aggregate(files)
    assert cell(study, "log_volume_slope", n=10, replicate=0) == pytest.approx(2.0)
    assert cell(study, "log_volume_slope", n=40, replicate=0) == pytest.approx(1.0)
    assert cell(study, "log_volume_slope_stderr", n=10, replicate=0) == pytest.approx(0.03)
    assert cell(study, "log_volume_slope_stderr", n=40, replicate=0) == pytest.approx(0.5 / 30)
    assert [cell(study, "log_volume_slope_start", n=n) for n in (10, 40)] == [0, 10]
    flags = [cell(study, "log_volume_slope_mean_converged", n=n) for n in (10, 40, 160, 320)]
    assert flags == [1, 1, 0, 0]
    assert np.isnan(cell(study, "log_volume_slope", n=20, replicate=0))
    assert cell(study, "log_volume_slope", n=20, replicate=0, dataset="other") == 1.5
    assert cell(study, "minus_log_accuracy", n=40, replicate=0) == pytest.approx(np.log(2))


def test_error_of_minus_log_accuracy_is_relative():
    value, stderr = statistics.minus_log(xr.DataArray([0.5, 0.0]), xr.DataArray([0.02, 0.0]))
    np.testing.assert_allclose(value, [np.log(2), np.nan])
    np.testing.assert_allclose(stderr, [0.04, np.nan])


def test_a_log_volume_with_a_censored_replicate_has_no_mean(tmp_path):
    files = [
        write_run(tmp_path, "guess_and_check", n, r, guesses=100, extra={"hits": hits}, **numbers)
        for n, r, hits, numbers in [
            (4, 0, 9, {"log_volume": -2.4}),
            (4, 1, 8, {"log_volume": -2.6}),
            (8, 0, 1, {"log_volume": -4.6}),
            (8, 1, 0, {"log_volume_upper": -3.5, "converged": False}),
        ]
    ]
    study = aggregate(files)
    where = {"sampler": "guess_and_check"}
    assert cell(study, "log_volume_mean", n=4, **where) == pytest.approx(-2.5)
    assert np.isnan(cell(study, "log_volume_mean", n=8, **where))
    assert cell(study, "log_volume_upper", n=8, replicate=1, **where) == -3.5
    assert np.isnan(cell(study, "log_volume_low", n=8, replicate=1, **where))


def test_cells_the_study_does_not_have_are_nan(tmp_path):
    files = accuracies(tmp_path, "gd", {10: [0.5, 0.6]})
    files.append(write_run(tmp_path, "gd", 4, 0, dataset="other", test_accuracy=0.9, epochs=7))
    study = aggregate(files)
    assert study.sizes == {"dataset": 2, "architecture": 1, "n": 2, "replicate": 2, "sampler": 1}
    there = study["test_accuracy"].notnull()
    assert int(there.sum()) == 3 and int(study["converged"].notnull().sum()) == 3
    empty = {"n": 4, "replicate": 1, "sampler": "gd", "dataset": "other"}
    assert np.isnan(cell(study, "epochs", **empty))
    assert cell(study, "verdict", **empty) == "" and cell(study, "seed", **empty) == -1
    present = empty | {"replicate": 0}
    assert cell(study, "epochs", **present) == 7 and cell(study, "seed", **present) == 2**62


def test_without_rewl_there_is_no_advantage(tmp_path):
    study = aggregate(accuracies(tmp_path, "gd", {10: [0.5, 0.6]}))
    assert study["advantage"].isnull().all() and study["log_volume_slope"].isnull().all()
    assert cell(study, "test_accuracy_mean", n=10, sampler="gd") == pytest.approx(0.55)


def test_orders_are_those_asked_for(tmp_path):
    files = [
        write_run(tmp_path, sampler, n, r, dataset=dataset)
        for sampler in ("rewl", "zzz", "sam", "guess_and_check", "gd", "sgd")
        for n, r in ((20, 1), (10, 0))
        for dataset in ("b", "a")
    ]
    study = aggregate(files, datasets=["b", "a", "unused"])
    order = ["gd", "sgd", "sam", "guess_and_check", "rewl", "zzz"]
    assert study["sampler"].values.tolist() == order
    assert study["dataset"].values.tolist() == ["b", "a"]
    assert study["n"].values.tolist() == [10, 20] and study["replicate"].values.tolist() == [0, 1]
    assert aggregate(files)["dataset"].values.tolist() == ["a", "b"]
    with pytest.raises(DataError, match="unlisted dataset: a;"):
        aggregate(files, datasets=["b"])


def test_the_same_runs_in_any_order_give_the_same_bytes(tmp_path):
    files = accuracies(tmp_path, "gd", {10: [0.5, 0.6], 20: [0.7, 0.8]})
    files += accuracies(tmp_path, "rewl", {10: [0.4, 0.5], 20: [0.6, 0.8]})
    for name, order in (("one", files), ("two", files[::-1])):
        netcdf.write(aggregate(order, attributes={"seed": 3}), tmp_path / f"{name}.nc")
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "two.nc").read_bytes()
    assert netcdf.read(tmp_path / "one.nc").attrs["seed"] == 3


def test_of_a_run_no_more_is_kept_than_the_study_holds(tmp_path):
    """However much a file says: here 200 kB, most of which is the same in all of them."""
    path = write_run(tmp_path, "gd", 10, 0, test_accuracy=0.5)
    run = netcdf.read(path).assign_attrs(parameters=json.dumps({"text": "x" * 200_000}))

    def peak(replicates):
        files = []
        for replicate in range(replicates):
            files.append(tmp_path / f"{replicate}.nc")
            netcdf.write(run.assign_attrs(replicate=replicate), files[-1])
        tracemalloc.start()
        study = aggregate(files)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert study.sizes["replicate"] == replicates
        return used

    peak(2)  # what is imported and cached once
    assert peak(30) < peak(10) + 20 * 20_000


def test_every_variable_says_what_it_is_and_survives_the_file(tmp_path):
    files = accuracies(tmp_path, "gd", {10: [0.5]}, epochs=3)
    files += accuracies(tmp_path, "rewl", {10: [0.4]}, moves=9)
    study = aggregate(files)
    netcdf.write(study, tmp_path / "study.nc")
    again = netcdf.read(tmp_path / "study.nc")
    xr.testing.assert_equal(again, study)
    text = {"verdict", "seed", "layers", "weights", "reference"}
    with netCDF4.Dataset(tmp_path / "study.nc") as file:
        for name in study.data_vars:
            variable = file[name]
            assert variable.long_name, name
            if "flag_values" in variable.ncattrs():
                assert variable.dtype == np.int8 and variable.flag_meanings == "no yes", name
            elif name not in text:
                assert variable.units in {"1", "count"}, name
            if getattr(variable, "units", "") == "count":
                assert variable.dtype == np.int64, name
        assert file["converged"].dtype == np.int8 and file["moves"].units == "count"


def test_provenance_is_gathered_by_sampler(tmp_path):
    study = aggregate(accuracies(tmp_path, "gd", {10: [0.5, 0.6]}))
    assert json.loads(study.attrs["parameters"]) == {"gd": [{"budget": 5}]}
    assert json.loads(study.attrs["volumetry_version"]) == {"gd": ["0.1.0"]}
    assert study.attrs["Conventions"] == "CF-1.11" and study.attrs["title"] != "a run"
    assert "verdict" not in study.attrs and cell(study, "n_weights") == 296
    assert json.loads(cell(study, "layers")) == ["linear 4"]


def test_networks_are_counted(tmp_path):
    fitted = {"fitted": ("network", np.array([1, 0, 1, 1], np.int8))}
    study = aggregate([write_run(tmp_path, "gd", 10, 0, test_accuracy=0.5, extra=fitted)])
    where = {"n": 10, "sampler": "gd", "replicate": 0}
    assert (cell(study, "n_networks", **where), cell(study, "n_fitted", **where)) == (4, 3)


def test_unusable_files_are_named(tmp_path):
    good = write_run(tmp_path, "gd", 10, 0)
    with pytest.raises(DataError, match="no run files"):
        aggregate([])
    with pytest.raises(DataError, match=r"-10-0-gd\.nc: a second file for the run"):
        aggregate([good, good])
    torn = tmp_path / "torn.nc"
    torn.write_bytes(good.read_bytes()[:200])
    with pytest.raises(DataError, match=r"torn\.nc: cannot be read"):
        aggregate([torn])
    other = tmp_path / "other.nc"
    netcdf.write(xr.Dataset({"converged": 1}, attrs={"n": 3}), other)
    with pytest.raises(DataError, match=r"other\.nc: .* lacks dataset, architecture, replicate"):
        aggregate([other])


def test_costs_of_runs_become_a_table(tmp_path):
    folder = tmp_path / "digits" / "simple_cnn" / "n40" / "r2"
    folder.mkdir(parents=True)
    files = []
    for sampler in ("gd", "rewl"):
        files.append(folder / f"{sampler}.tsv")
        write_cost(files[-1], 12.5)
    seconds.write(seconds.collect(files), tmp_path / "seconds.csv")
    gd, rewl = seconds.read(tmp_path / "seconds.csv")
    memory = gd.pop("max_rss_mb")
    assert 20 < memory < 10_000
    assert gd == {
        "dataset": "digits",
        "architecture": "simple_cnn",
        "n": 40,
        "replicate": 2,
        "sampler": "gd",
        "seconds": 12.5,
    }
    assert rewl["sampler"] == "rewl" and rewl["max_rss_mb"] >= memory
    assert next(seconds.collect([*files, tmp_path]))["sampler"] == "gd"  # one at a time


def test_other_files_are_no_costs(tmp_path):
    (tmp_path / "gd.tsv").touch()
    with pytest.raises(DataError, match="not the cost of a run"):
        list(seconds.collect([tmp_path / "gd.tsv"]))
    path = tmp_path / "digits" / "simple_cnn" / "n40" / "r2" / "gd.tsv"
    assert not list(seconds.collect([path]))
    path.parent.mkdir(parents=True)
    for text in ("", "nothing\n", "nothing\n1\n", "s\tmax_rss\nlong\t1\n", "s\tmax_rss\n1\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="does not say what a run took"):
            list(seconds.collect([path]))


def test_bound_from_the_volume_alone(tmp_path):
    """1 - (0.05 V)^(1/n), against the error on labels as noisy as those of the training set."""
    numbers = {"log_volume": -20.0, "log_volume_stderr": 0.2, "test_accuracy": 0.7}
    files = [write_run(tmp_path, "rewl", 10, 0, **numbers, test_accuracy_stderr=0.01)]
    for path in files:
        run = netcdf.read(path).assign_attrs(label_noise=0.5, n_classes=10)
        netcdf.write(run, path)
    study = aggregate(files)
    bound = 1 - (0.05 * np.exp(-20)) ** 0.1
    assert cell(study, "error_bound", n=10) == pytest.approx(bound, abs=1e-12)
    half = 1.96 * (1 - bound) * 0.2 / 10
    assert cell(study, "error_bound_high", n=10) == pytest.approx(bound + half, abs=1e-4)
    assert cell(study, "gibbs_error", n=10) == pytest.approx(1 - 0.5 * 0.7 - 0.05, abs=1e-12)


def test_bound_holds_for_a_class_of_two_weights():
    """By listing samples: two settings with errors 0.2 and 0.6, fits with (1 - L)^n, n = 3."""
    n, delta, errors = 3, 0.5, np.array([0.2, 0.6])
    # Independent examples; both settings wrong together as little as possible: L1 + L2 < 1.
    outcomes = {(1, 1): 0.2, (0, 1): 0.2, (1, 0): 0.6}
    failed = 0.0
    for sample in itertools.product(outcomes.items(), repeat=n):
        probability = np.prod([p for _, p in sample])
        fits = np.all([right for right, _ in sample], axis=0)
        if fits.any():
            bound = statistics.gibbs_error_bound(np.log(fits.mean()), n, delta)
            failed += probability * (errors[fits].mean() > bound)
    assert failed <= delta


def test_the_density_of_states_sums_to_all_weights(tmp_path):
    log_g = ("A", np.log([2.0**295, 2.0**295]))
    write_run(tmp_path, "rewl", 10, 0, extra={"log_g": log_g})
    twice = ("A", np.log([2.0**296, 2.0**296]))
    write_run(tmp_path, "rewl", 20, 0, extra={"log_g": twice})
    study = aggregate(tmp_path.glob("*.nc"))
    assert cell(study, "sum_rule", n=10, replicate=0, sampler="rewl") == pytest.approx(0, abs=1e-9)
    assert cell(study, "sum_rule", n=20, replicate=0, sampler="rewl") == pytest.approx(np.log(2))
