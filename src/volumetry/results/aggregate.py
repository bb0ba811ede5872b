"""One Dataset for a study, from the files of its runs.

Variables over (dataset, architecture, n, replicate, sampler), NaN where the study has no such run:
``CELL_VARIABLES`` and ``verdict`` (text) and ``seed``. Summaries over replicates, with ``_low``
and ``_high`` ends of 95 % intervals (``statistics.replicate_interval``):

    test_accuracy_mean, log_volume_mean   (dataset, architecture, n, sampler)
    advantage                             (dataset, architecture, n, sampler)
    advantage_change                      (dataset, architecture, sampler)
    log_volume_slope_mean, minus_log_accuracy_mean    (dataset, architecture, n)
    error_bound, gibbs_error                          (dataset, architecture, n)

Checks of the study against itself, one a cell unless said otherwise:

    volume_z              Guess & Check against rewl, log-volume, in standard errors
    enumerate_volume_z    rewl against enumerate, the same
    joint_accuracy_z      joint against rewl, accuracy of the interpolators, in standard errors
    joint_agreement       probability of a larger chi-squared between joint and rewl over g(A)
    sum_rule              ln of the sum of rewl's g(A) over 2^M; 0 is right
    slope_agrees          (dataset, architecture, n): whether -d ln V/dn meets -ln Qr

With joint: ``tail_log_volume`` of the networks of each trained sampler, and over ``accuracy``
``log_p_given_fit``, the distribution of the interpolators.

A run that did not converge takes part with its estimate. A run without a test accuracy (nothing
fitted) has none to give: ``<summary>_replicates`` counts the runs that take part. In both cases
``<summary>_converged`` is 0. A log-volume with a censored replicate has no mean: leaving the
censored one out would bias it.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

import netCDF4
import numpy as np
import xarray as xr
from scipy.special import logsumexp

from volumetry.errors import DataError
from volumetry.results import statistics
from volumetry.study import registry
from volumetry.study.registry import METHODS

DIMS = ("dataset", "architecture", "n", "replicate", "sampler")
TRAINED = [name for name, method in METHODS.items() if method.kind == registry.TRAINED]
"""The samplers whose advantage over the random interpolator is the question."""

CELL_VARIABLES = {
    "test_accuracy": ("test accuracy at A = n", "1"),
    "test_accuracy_stderr": ("standard error of the test accuracy", "1"),
    "log_volume": ("log-volume ln Pr[A = n]", "nat"),
    "log_volume_stderr": ("standard error of the log-volume", "nat"),
    "log_volume_upper": ("95 % upper limit of a censored log-volume", "nat"),
    "log_volume_low": ("lower end of the Clopper-Pearson interval of the log-volume", "nat"),
    "log_volume_high": ("upper end of the Clopper-Pearson interval of the log-volume", "nat"),
    "converged": ("1 if the run met its convergence criteria, else 0", "1"),
    "moves": ("Markov chain moves made", "1"),
    "guesses": ("independent uniform draws made", "1"),
    "epochs": ("passes over the training set, summed over networks", "1"),
    "hits": ("uniform draws that fitted the training set", "1"),
    "n_networks": ("networks trained", "1"),
    "n_fitted": ("networks trained that fitted the training set", "1"),
    "round_trips": ("round trips of the replicas", "1"),
    "log_volume_drift": ("change of ln V between the halves of production, standard errors", "1"),
    "sum_rule": ("ln of the sum of g(A) over 2^M", "1"),
    "joint_agreement": ("probability of a larger chi-squared of joint's g(A) against rewl's", "1"),
}
"""Numbers of each run: long_name and units."""

ACCURACIES = np.linspace(0, 1, 201)
"""Grid of test accuracies for the distribution of the interpolators."""

_COORDINATES = {
    "dataset": "dataset",
    "architecture": "architecture",
    "n": "training examples",
    "replicate": "independent draw of the nested training subsets, with independent chains",
    "sampler": "method that finds networks fitting the training set",
}
_NOT_GATHERED = {*DIMS, *CELL_VARIABLES, "verdict", "seed", "layers", "n_weights", "label_noise"}
_NOT_GATHERED |= {"title", "Conventions", "n_classes", "n_test", "_joint"}
"""Attributes of a run that become variables of the study, or that the study has of its own."""


def aggregate(
    run_files: Iterable[str | os.PathLike],
    *,
    datasets: Sequence[str] | None = None,
    architectures: Sequence[str] | None = None,
    attributes: Mapping[str, str | int | float] | None = None,
) -> xr.Dataset:
    """Gather the runs of a study and summarise them.

    The files are read one at a time; of each, what the study holds is kept.

    Args:
        run_files: NetCDF files of the runs, in any order.
        datasets, architectures: the names, in the order they shall have; sorted if not given.
        attributes: global attributes to add (the configuration, the seed of the study).

    Returns:
        The Dataset the module describes. Every other attribute of the runs becomes one global
        attribute: JSON, {sampler: [its distinct values]}.

    Raises:
        DataError: no file, a file that is not that of a run, two files of the same run, or a run
            whose dataset or architecture is not among the names given.
    """
    runs: dict[tuple, dict] = {}
    for path in run_files:
        run = read_run(path)
        cell = tuple(run[dim] for dim in DIMS)
        if cell in runs:
            raise DataError(f"{path}: a second file for the run {cell}; remove one of the two")
        runs[cell] = run
    return combine(runs, datasets=datasets, architectures=architectures, attributes=attributes)


def combine(
    runs: Mapping[tuple, Mapping],
    *,
    datasets: Sequence[str] | None = None,
    architectures: Sequence[str] | None = None,
    attributes: Mapping[str, str | int | float] | None = None,
) -> xr.Dataset:
    """``aggregate``, of runs that are read already.

    Args:
        runs: for each cell, a tuple in the order of ``DIMS``, what ``read_run`` returned.
        datasets, architectures, attributes: as for ``aggregate``.

    Raises:
        DataError: no run, or one whose dataset or architecture is not among the names given.
    """
    if not runs:
        raise DataError("no run files to aggregate: a study has at least one run")

    seen = {dim: sorted({run[dim] for run in runs.values()}) for dim in DIMS}
    coords = seen | {
        "dataset": _ordered(seen["dataset"], datasets, "dataset"),
        "architecture": _ordered(seen["architecture"], architectures, "architecture"),
        "sampler": [s for s in METHODS if s in seen["sampler"]]
        + [s for s in seen["sampler"] if s not in METHODS],
    }
    study = xr.Dataset(
        coords={dim: (dim, coords[dim], {"long_name": name}) for dim, name in _COORDINATES.items()}
    )
    place = {dim: {value: i for i, value in enumerate(coords[dim])} for dim in DIMS}

    def spread(key: str, dims: Sequence[str], fill, dtype, **attrs) -> None:
        values = np.full([len(coords[dim]) for dim in dims], fill, dtype)
        for run in runs.values():
            if key in run:
                values[tuple(place[dim][run[dim]] for dim in dims)] = run[key]
        study[key] = dims, values, attrs

    for name, (long_name, units) in CELL_VARIABLES.items():
        spread(name, DIMS, np.nan, float, long_name=long_name, units=units)
    low, high = statistics.clopper_pearson(study["hits"], study["guesses"])
    study["log_volume_low"][:] = np.log(np.where(low > 0, low, np.nan))
    study["log_volume_high"][:] = np.log(high)
    spread("verdict", DIMS, "", object, long_name="why the run counts as converged, or not")
    spread("seed", DIMS, -1, np.int64, long_name="seed of the run; -1 where there is no run")
    spread("layers", ["architecture"], "", object, long_name="layers, JSON")
    pair = ["dataset", "architecture"]
    spread("n_weights", pair, np.nan, float, long_name="number of weights M", units="1")
    spread("n_classes", ["dataset"], np.nan, float, long_name="number of classes", units="1")
    name = "fraction of training labels redrawn at random"
    spread("label_noise", ["dataset"], np.nan, float, long_name=name, units="1")

    _add_joint(study, runs, place)
    _summarise(study)
    study.attrs = {
        "title": "Volumetry study: trained networks against the typical interpolator",
        "Conventions": "CF-1.11",
        "intervals": "95 %; Student t over replicates, paired where a difference is taken; with "
        "one replicate the normal interval of that run's own standard error",
        **_provenance(runs),
        **(attributes or {}),
    }
    return study


def _add_joint(study: xr.Dataset, runs: Mapping[tuple, Mapping], place: Mapping) -> None:
    """Tail volumes of the trained samplers, and the distributions of joint, if there are any."""
    found = [run for run in runs.values() if "_joint" in run]
    if not found:
        return
    shape = [study.sizes[dim] for dim in DIMS]
    tail, error = np.full((2, *shape), np.nan)
    density = np.full((*shape[:4], len(ACCURACIES)), np.nan)
    for run in found:
        at = tuple(place[dim][run[dim]] for dim in DIMS[:4])
        density[at] = run["_joint"]["density"]
        for sampler, (tails, errors) in run["_joint"]["tails"].items():
            if sampler not in place["sampler"]:
                continue  # its own runs are not there, or no longer
            cell = (*at, place["sampler"][sampler])
            # The mean over networks; their errors come from the same chains, so they do not shrink.
            tail[cell], error[cell] = np.mean(tails), np.mean(errors)
    name = "mean ln Pr[test accuracy at least that of a trained network | A = n]"
    study["tail_log_volume"] = DIMS, tail, {"long_name": name, "units": "nat"}
    study["tail_log_volume_stderr"] = (
        DIMS,
        error,
        {"long_name": f"standard error of {name}", "units": "nat"},
    )
    study["accuracy"] = "accuracy", ACCURACIES, {"long_name": "test accuracy", "units": "1"}
    study["log_p_given_fit"] = (
        (*DIMS[:4], "accuracy"),
        density,
        {"long_name": "ln of the density of the test accuracy at A = n", "units": "1"},
    )


def read_run(path: str | os.PathLike) -> dict:
    """Cell, numbers and attributes of one run.

    Raises:
        DataError: the file cannot be read, or is not that of a run.
    """
    try:
        # Not through xarray, which takes three times as long: a study has thousands of runs.
        with netCDF4.Dataset(path) as file:
            file.set_auto_maskandscale(False)
            run = {_shared(name): _shared(file.getncattr(name)) for name in file.ncattrs()}
            found = file.variables
            run |= {name: found[name][...].item() for name in CELL_VARIABLES if name in found}
            if "log_g" in found and "n_weights" in run:
                total = logsumexp(found["log_g"][...])
                run["sum_rule"] = float(total - int(run["n_weights"]) * np.log(2))
            if "reference_agreement" in found:
                run["joint_agreement"] = found["reference_agreement"][...].item()
                run["_joint"] = _read_joint(found, int(run["n_test"]))
            if "fitted" in found:
                fitted = found["fitted"][...]
                run |= {"n_networks": fitted.size, "n_fitted": int(fitted.sum())}
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        raise DataError(
            f"{path}: cannot be read as the file of a run ({error}); delete it and run again"
        ) from None
    missing = [name for name in (*DIMS, "verdict") if name not in run]
    missing += [name for name in ("test_accuracy", "converged") if name not in run]
    if missing:
        raise DataError(f"{path}: not the file of a run, it lacks {', '.join(missing)}")
    return run | {"n": int(run["n"]), "replicate": int(run["replicate"])}


def _shared(value):
    """Text as one object for all runs: most of what they say is the same, and it may be long."""
    return sys.intern(value) if isinstance(value, str) else value


def _read_joint(file: Mapping[str, netCDF4.Variable], n_test: int) -> dict:
    """Tail volumes by sampler, and the distribution of the accuracy, of a run of joint."""
    samplers = file["network_sampler"][...]
    tails, errors = file["tail_log_volume"][...], file["tail_log_volume_stderr"][...]
    by_sampler = {s: (tails[samplers == s], errors[samplers == s]) for s in np.unique(samplers)}
    low, log_p = file["hits_low"][...], file["log_p_given_fit"][...]
    # Density over accuracy, so that bins of any width compare.
    density = log_p - np.log(np.diff(np.append(low, n_test + 1)) / n_test)
    centre = (low + np.append(low[1:], n_test + 1) - 1) / 2 / n_test
    known = np.isfinite(density)
    values = np.full(len(ACCURACIES), np.nan)
    if known.any():
        values = np.interp(ACCURACIES, centre[known], density[known], left=np.nan, right=np.nan)
    return {"tails": by_sampler, "density": values}


def _ordered(seen: list[str], wanted: Sequence[str] | None, kind: str) -> list[str]:
    if wanted is None:
        return seen
    unknown = [name for name in seen if name not in wanted]
    if unknown:
        raise DataError(f"runs of an unlisted {kind}: {', '.join(unknown)}; list it or remove them")
    return [name for name in wanted if name in seen]


def _provenance(runs: Mapping[tuple, Mapping]) -> dict[str, str]:
    """{attribute: JSON of {sampler: [distinct values]}} for what is not a variable already."""
    found: dict[str, dict[str, set]] = {}
    for run in runs.values():
        for name, value in run.items():
            if name not in _NOT_GATHERED:
                value = json.dumps(value.tolist() if hasattr(value, "tolist") else value)
                found.setdefault(name, {}).setdefault(run["sampler"], set()).add(value)
    return {
        name: json.dumps(
            {sampler: [_decoded(v) for v in sorted(values)] for sampler, values in each.items()},
            sort_keys=True,
        )
        for name, each in sorted(found.items())
    }


def _decoded(text: str):
    """The value behind JSON; where that is JSON itself, the value behind it."""
    value = json.loads(text)
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def status(study: xr.Dataset) -> xr.DataArray:
    """For each run 'converged', 'censored' (Guess & Check without a hit) or 'not converged'.

    Empty where the study has no such run.
    """
    words = xr.where(study["converged"] == 1, "converged", "not converged")
    words = xr.where(study["log_volume_upper"].notnull(), "censored", words)
    return words.where(study["converged"].notnull(), "")


def _only(study: xr.Dataset, sampler: str) -> xr.Dataset:
    """The numbers of one sampler; all NaN if the study does not have it."""
    numbers = study[list(CELL_VARIABLES)]
    return numbers.reindex(sampler=[sampler]).isel(sampler=0, drop=True)


def _summarise(study: xr.Dataset) -> None:
    """Add the differences and the means over replicates to ``study``."""

    def put(name: str, values: xr.DataArray, long_name: str, units: str = "1") -> None:
        study[name] = values.assign_attrs(long_name=long_name, units=units)

    def put_mean(name, values, stderr, converged, quantity, units="1") -> None:
        interval = statistics.replicate_interval(values, stderr)
        put(name, interval["mean"], f"{quantity}, mean over replicates", units)
        put(f"{name}_low", interval["low"], f"{quantity}, lower end of the 95 % interval", units)
        put(f"{name}_high", interval["high"], f"{quantity}, upper end of the 95 % interval", units)
        put(f"{name}_replicates", interval["replicates"], f"{quantity}, replicates that enter")
        flag = converged.min("replicate").where(interval["replicates"] > 0)
        put(
            f"{name}_converged", flag, f"{quantity}, 1 if every run it is made of converged, else 0"
        )

    rewl, guesses = _only(study, "rewl"), _only(study, "guess_and_check")

    quantity = "test accuracy at A = n"
    accuracy, stderr = study["test_accuracy"], study["test_accuracy_stderr"]
    put_mean("test_accuracy_mean", accuracy, stderr, study["converged"], quantity)

    censored = study["log_volume_upper"].notnull().any("replicate")
    log_volume = study["log_volume"].where(~censored)
    put_mean(
        "log_volume_mean",
        log_volume,
        study["log_volume_stderr"],
        study["converged"],
        "log-volume",
        "nat",
    )

    quantity = "advantage: test accuracy over that of rewl, paired by replicate"
    advantage, stderr = statistics.difference(
        accuracy, rewl["test_accuracy"], stderr, rewl["test_accuracy_stderr"]
    )
    advantage = advantage.where(study["sampler"] != "rewl")
    converged = np.minimum(study["converged"], rewl["converged"])
    put("advantage_replicate", advantage, quantity)
    put("advantage_replicate_stderr", stderr.where(advantage.notnull()), f"error of {quantity}")
    put_mean("advantage", advantage, stderr, converged, quantity)

    sizes = study["n"].where(study["advantage"].notnull())
    first, last = sizes.min("n"), sizes.max("n")

    def at(size: xr.DataArray, values: xr.DataArray) -> xr.DataArray:
        return values.where((study["n"] == size) & (first < last)).sum("n", min_count=1)

    change, stderr = statistics.difference(
        at(last, advantage), at(first, advantage), at(last, stderr), at(first, stderr)
    )
    put("advantage_change_first_n", first, "smallest n with an advantage")
    put("advantage_change_last_n", last, "largest n with an advantage")
    put_mean(
        "advantage_change",
        change,
        stderr,
        np.minimum(at(first, converged), at(last, converged)),
        "advantage at the largest n minus that at the smallest",
    )

    quantity = "-d ln V/dn from the next smaller n, 0 included, to this n"
    slope = statistics.log_volume_slope(
        rewl["log_volume"], rewl["log_volume_stderr"], rewl["converged"]
    )
    put("log_volume_slope", slope["slope"], quantity, "nat")
    put("log_volume_slope_stderr", slope["stderr"], f"standard error of {quantity}", "nat")
    put("log_volume_slope_start", slope["start"], "the smaller n of log_volume_slope")
    put_mean(
        "log_volume_slope_mean",
        slope["slope"],
        slope["stderr"],
        slope["converged"],
        quantity,
        "nat",
    )

    quantity = "-ln of the test accuracy of rewl"
    value, stderr = statistics.minus_log(rewl["test_accuracy"], rewl["test_accuracy_stderr"])
    put("minus_log_accuracy", value, quantity, "nat")
    put("minus_log_accuracy_stderr", stderr, f"standard error of {quantity}", "nat")
    put_mean("minus_log_accuracy_mean", value, stderr, rewl["converged"], quantity, "nat")

    quantity = "log-volume of guess_and_check minus that of rewl"
    value, stderr = statistics.difference(
        guesses["log_volume"],
        rewl["log_volume"],
        guesses["log_volume_stderr"],
        rewl["log_volume_stderr"],
    )
    put("volume_difference", value, quantity, "nat")
    put("volume_difference_stderr", stderr, f"standard error of {quantity}", "nat")
    put("volume_z", value / stderr, f"{quantity}, in standard errors")

    def put_z(name: str, a: xr.Dataset, b: xr.Dataset, variable: str, quantity: str) -> None:
        error = f"{variable}_stderr"
        value, stderr = statistics.difference(a[variable], b[variable], a[error], b[error])
        put(name, value / stderr, f"{quantity}, in standard errors")

    exact, joint = _only(study, "enumerate"), _only(study, "joint")
    put_z("enumerate_volume_z", rewl, exact, "log_volume", "log-volume of rewl minus the exact one")
    quantity = "test accuracy of joint minus that of rewl"
    put_z("joint_accuracy_z", joint, rewl, "test_accuracy", quantity)
    put("slope_agrees", statistics.slope_agrees(study), "whether -d ln V/dn meets -ln Qr")

    # The bound is about labels as they are drawn; with label noise, so is the error beside it.
    noise, classes = study["label_noise"], study["n_classes"]
    quantity = f"upper bound ({statistics.CONFIDENCE:.0%}) on the error of the random interpolator"
    bound = statistics.gibbs_error_bound(rewl["log_volume"], study["n"])
    stderr = (1 - bound) * rewl["log_volume_stderr"] / study["n"]
    put_mean("error_bound", bound, stderr, rewl["converged"], quantity)
    error = 1 - (1 - noise) * rewl["test_accuracy"] - noise / classes
    stderr = (1 - noise) * rewl["test_accuracy_stderr"]
    quantity = "error of the random interpolator on labels as noisy as those of the training set"
    put_mean("gibbs_error", error, stderr, rewl["converged"], quantity)
