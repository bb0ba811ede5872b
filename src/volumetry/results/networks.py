"""Each trained network of a study, and where it stands among the interpolators."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from volumetry.methods.result import SELECTIONS
from volumetry.results.run_files import ACCURACIES, DIMS
from volumetry.results.variables import put

PROTOCOL = "state of a trained network whose test accuracy is meant"


def add_networks(study: xr.Dataset, runs: Mapping[tuple, Mapping], place: Mapping) -> None:
    """Add the test accuracies of every trained network, at each protocol and on the way.

    Args:
        study: has the dimensions of ``DIMS``.
        runs: as for ``aggregate.combine``.
        place: for each dimension, the position of each of its values.
    """
    found = {cell: run["_networks"] for cell, run in runs.items() if "_networks" in run}
    if not found:
        return
    epochs = sorted({int(look) for each in found.values() for look in each["epochs"]})
    most = max(len(each["accuracy"]) for each in found.values())
    shape = [study.sizes[dim] for dim in DIMS]
    accuracy = np.full((*shape, most, len(SELECTIONS)), np.nan)
    after = np.full((2, *shape, len(epochs)), np.nan)
    for cell, each in found.items():
        at = tuple(place[dim][value] for dim, value in zip(DIMS, cell))
        accuracy[at][: len(each["accuracy"])] = each["accuracy"]
        looks = np.searchsorted(epochs, each["epochs"])
        after[0][at][looks], after[1][at][looks] = _mean_over_networks(each["after_fit"])
    study["protocol"] = "protocol", list(SELECTIONS), {"long_name": PROTOCOL}
    about = {"long_name": "epochs since the first fit of a network", "units": "1"}
    study["epochs_after_fit"] = "epochs_after_fit", epochs, about
    over = (*DIMS, "network", "protocol")
    put(study, "network_accuracy", xr.DataArray(accuracy, dims=over), "test accuracy of a network")
    counted = study["network_accuracy"]
    known = counted.notnull().sum("network")
    quantity = "test accuracy of trained networks at a protocol"
    put(study, "accuracy_at", counted.mean("network"), f"{quantity}, mean")
    error = counted.std("network", ddof=1) / np.sqrt(known)
    put(study, "accuracy_at_stderr", error.where(known > 1), f"standard error of {quantity}")
    df = (known - 1.0).where(known > 0)
    put(study, "accuracy_at_df", df, f"degrees of freedom of the error of {quantity}")
    over = (*DIMS, "epochs_after_fit")
    quantity = "test accuracy of trained networks so many epochs after their first fit"
    put(study, "accuracy_after_fit", xr.DataArray(after[0], dims=over), f"{quantity}, mean")
    error = xr.DataArray(after[1], dims=over)
    put(study, "accuracy_after_fit_stderr", error, f"standard error of {quantity}")


def add_density(study: xr.Dataset, runs: Mapping[tuple, Mapping]) -> None:
    """Add ln Pr[A] under uniform weights, as the reference of each cell has it."""
    shape = [study.sizes[dim] for dim in DIMS[:4]]
    found = {}
    for at, name in np.ndenumerate(study["reference"].values):
        key = tuple(study[dim].values[i].item() for dim, i in zip(DIMS, at))
        values = runs.get((*key, name), {}).get("_log_p")
        if values is not None and values.ndim == 1:  # joint has one a bin of accuracies
            found[at] = values
    if not found:
        return
    log_p = np.full((*shape, int(study["n"].max()) + 1), np.nan)
    for at, values in found.items():
        log_p[at][: len(values)] = values
    about = {"long_name": "training examples classified correctly", "units": "count"}
    study["A"] = "A", np.arange(log_p.shape[-1]), about
    about = "ln Pr[A] under uniform weights, of the reference: ln g(A) = ln Pr[A] + M ln 2"
    put(study, "log_p", xr.DataArray(log_p, dims=(*DIMS[:4], "A")), about, "nat")


def add_interpolators(study: xr.Dataset, runs: Mapping[tuple, Mapping]) -> None:
    """Add the distribution of the interpolators' test accuracy, and each network's rank in it.

    The interpolators are those of ``study["reference"]``.
    """
    shape = [study.sizes[dim] for dim in DIMS[:4]]
    above = np.full((*shape, len(ACCURACIES)), np.nan)
    ranked = "network_accuracy" in study
    accuracy = study["network_accuracy"].values if ranked else None
    rank = np.full_like(accuracy, np.nan) if ranked else None
    for cell, name in np.ndenumerate(study["reference"].values):
        key = tuple(study[dim].values[at].item() for dim, at in zip(DIMS, cell))
        scores = runs.get((*key, name), {}).get("_scores")
        tests = study["n_test"].values[cell[0]]
        if scores is None or not np.isfinite(tests):
            continue
        above[cell] = _at_least(*scores, np.ceil(ACCURACIES * tests - 1e-6))
        if ranked:
            correct = np.round(accuracy[cell] * tests)
            ties = _at_least(*scores, correct) + _at_least(*scores, correct + 1)
            rank[cell] = np.where(np.isnan(correct), np.nan, ties / 2)
    if np.isnan(above).all():
        return
    if "accuracy" not in study.coords:
        about = {"long_name": "test accuracy", "units": "1"}
        study["accuracy"] = "accuracy", ACCURACIES, about
    about = "fraction of the interpolators of the reference with at least this test accuracy"
    put(study, "interpolators_above", xr.DataArray(above, dims=(*DIMS[:4], "accuracy")), about)
    if ranked:
        about = "fraction of these interpolators that do better than the network, ties by half"
        over = study["network_accuracy"].dims
        put(study, "network_rank", xr.DataArray(rank, dims=over), about)


def _mean_over_networks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis of what is known, and its standard error, NaN below two."""
    known = (~np.isnan(values)).sum(axis=0)
    total = np.nansum(values, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / known
        variance = np.nansum((values - mean) ** 2, axis=0) / (known - 1)
        return mean, np.where(known > 1, np.sqrt(variance / known), np.nan)


def _at_least(scores: np.ndarray, shares: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Share of the interpolators with at least so many correct test examples."""
    above = np.append(np.cumsum(shares[::-1])[::-1], 0.0)
    return above[np.searchsorted(scores, np.nan_to_num(wanted))]
