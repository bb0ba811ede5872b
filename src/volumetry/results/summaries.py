"""What a study says of itself: summaries over replicates, and checks of one result by another.

``summarise`` adds to an aggregated study all variables that are computed from those of its runs;
the module ``aggregate`` lists them. Each function here answers one question.
"""

import numpy as np
import xarray as xr

from volumetry.results import statistics
from volumetry.results.roles import EXACT, GUESSING, JOINT, REFERENCE
from volumetry.results.run_files import CELL_VARIABLES


def summarise(study: xr.Dataset) -> None:
    """Add the means over replicates, the differences and the checks to ``study``."""
    _add_means(study)
    _add_advantage(study)
    _add_slope(study)
    _add_checks(study)
    _add_bound(study)


def _put(
    study: xr.Dataset, name: str, values: xr.DataArray, long_name: str, units: str = "1"
) -> None:
    study[name] = values.assign_attrs(long_name=long_name, units=units)


def _put_mean(
    study: xr.Dataset,
    name: str,
    values: xr.DataArray,
    stderr: xr.DataArray,
    converged: xr.DataArray,
    quantity: str,
    units: str = "1",
) -> None:
    """The mean over replicates with its interval, and on how many and how good runs it rests."""
    interval = statistics.replicate_interval(values, stderr)
    _put(study, name, interval["mean"], f"{quantity}, mean over replicates", units)
    for end, words in (("low", "lower"), ("high", "upper")):
        about = f"{quantity}, {words} end of the 95 % interval"
        _put(study, f"{name}_{end}", interval[end], about, units)
    entered = interval["replicates"]
    _put(study, f"{name}_replicates", entered, f"{quantity}, replicates that enter")
    flag = converged.min("replicate").where(entered > 0)
    about = f"{quantity}, 1 if every run it is made of converged, else 0"
    _put(study, f"{name}_converged", flag, about)


def _only(study: xr.Dataset, sampler: str) -> xr.Dataset:
    """The numbers of one sampler; all NaN if the study does not have it."""
    numbers = study[list(CELL_VARIABLES)]
    return numbers.reindex(sampler=[sampler]).isel(sampler=0, drop=True)


def _add_means(study: xr.Dataset) -> None:
    """How accurate is each sampler, and how large is the volume?"""
    accuracy, stderr = study["test_accuracy"], study["test_accuracy_stderr"]
    quantity = "test accuracy at A = n"
    _put_mean(study, "test_accuracy_mean", accuracy, stderr, study["converged"], quantity)
    censored = study["log_volume_upper"].notnull().any("replicate")
    volume, stderr = study["log_volume"].where(~censored), study["log_volume_stderr"]
    _put_mean(study, "log_volume_mean", volume, stderr, study["converged"], "log-volume", "nat")


def _add_advantage(study: xr.Dataset) -> None:
    """How much better than a random interpolator is each sampler, and how does that change?"""
    random = _only(study, REFERENCE)
    quantity = f"advantage: test accuracy over that of {REFERENCE}, paired by replicate"
    advantage, stderr = statistics.difference(
        study["test_accuracy"],
        random["test_accuracy"],
        study["test_accuracy_stderr"],
        random["test_accuracy_stderr"],
    )
    advantage = advantage.where(study["sampler"] != REFERENCE)
    converged = np.minimum(study["converged"], random["converged"])
    _put(study, "advantage_replicate", advantage, quantity)
    known = stderr.where(advantage.notnull())
    _put(study, "advantage_replicate_stderr", known, f"error of {quantity}")
    _put_mean(study, "advantage", advantage, stderr, converged, quantity)

    sizes = study["n"].where(study["advantage"].notnull())
    first, last = sizes.min("n"), sizes.max("n")

    def at(size: xr.DataArray, values: xr.DataArray) -> xr.DataArray:
        return values.where((study["n"] == size) & (first < last)).sum("n", min_count=1)

    change, stderr = statistics.difference(
        at(last, advantage), at(first, advantage), at(last, stderr), at(first, stderr)
    )
    _put(study, "advantage_change_first_n", first, "smallest n with an advantage")
    _put(study, "advantage_change_last_n", last, "largest n with an advantage")
    converged = np.minimum(at(first, converged), at(last, converged))
    quantity = "advantage at the largest n minus that at the smallest"
    _put_mean(study, "advantage_change", change, stderr, converged, quantity)


def _add_slope(study: xr.Dataset) -> None:
    """How fast does the volume shrink, and how fast should it by the accuracy?"""
    random = _only(study, REFERENCE)
    quantity = "-d ln V/dn from the next smaller n, 0 included, to this n"
    slope = statistics.log_volume_slope(
        random["log_volume"], random["log_volume_stderr"], random["converged"]
    )
    value, stderr, converged = slope["slope"], slope["stderr"], slope["converged"]
    _put(study, "log_volume_slope", value, quantity, "nat")
    _put(study, "log_volume_slope_stderr", stderr, f"standard error of {quantity}", "nat")
    start = "the smaller n of log_volume_slope"
    _put(study, "log_volume_slope_start", slope["start"], start)
    _put_mean(study, "log_volume_slope_mean", value, stderr, converged, quantity, "nat")

    quantity = f"-ln of the test accuracy of {REFERENCE}"
    value, stderr = statistics.minus_log(random["test_accuracy"], random["test_accuracy_stderr"])
    _put(study, "minus_log_accuracy", value, quantity, "nat")
    _put(study, "minus_log_accuracy_stderr", stderr, f"standard error of {quantity}", "nat")
    converged = random["converged"]
    _put_mean(study, "minus_log_accuracy_mean", value, stderr, converged, quantity, "nat")


def _add_checks(study: xr.Dataset) -> None:
    """Do samplers that measure the same thing agree?"""
    random = _only(study, REFERENCE)

    def compare(variable: str, a: xr.Dataset, b: xr.Dataset):
        error = f"{variable}_stderr"
        return statistics.difference(a[variable], b[variable], a[error], b[error])

    def put_z(name: str, value: xr.DataArray, stderr: xr.DataArray, quantity: str) -> None:
        _put(study, name, value / stderr, f"{quantity}, in standard errors")

    quantity = f"log-volume of {GUESSING} minus that of {REFERENCE}"
    value, stderr = compare("log_volume", _only(study, GUESSING), random)
    _put(study, "volume_difference", value, quantity, "nat")
    _put(study, "volume_difference_stderr", stderr, f"standard error of {quantity}", "nat")
    put_z("volume_z", value, stderr, quantity)
    quantity = f"log-volume of {REFERENCE} minus the exact one"
    put_z("enumerate_volume_z", *compare("log_volume", random, _only(study, EXACT)), quantity)
    quantity = f"test accuracy of {JOINT} minus that of {REFERENCE}"
    put_z("joint_accuracy_z", *compare("test_accuracy", _only(study, JOINT), random), quantity)
    agrees = statistics.slope_agrees(study)
    _put(study, "slope_agrees", agrees, "whether -d ln V/dn meets -ln Qr")


def _add_bound(study: xr.Dataset) -> None:
    """What error does the volume alone allow, and what is it?

    The bound is about labels as they are drawn; with label noise, so is the error beside it.
    """
    random = _only(study, REFERENCE)
    noise, classes = study["label_noise"], study["n_classes"]
    bound = statistics.gibbs_error_bound(random["log_volume"], study["n"])
    stderr = (1 - bound) * random["log_volume_stderr"] / study["n"]
    quantity = f"upper bound ({statistics.CONFIDENCE:.0%}) on the error of the random interpolator"
    _put_mean(study, "error_bound", bound, stderr, random["converged"], quantity)
    error = 1 - (1 - noise) * random["test_accuracy"] - noise / classes
    stderr = (1 - noise) * random["test_accuracy_stderr"]
    quantity = "error of the random interpolator on labels as noisy as those of the training set"
    _put_mean(study, "gibbs_error", error, stderr, random["converged"], quantity)
