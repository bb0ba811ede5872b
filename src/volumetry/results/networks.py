"""Each trained network of a study, and where it stands among the interpolators."""

from collections.abc import Iterator, Mapping

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
    after = np.full((3, *shape, len(epochs)), np.nan)
    for cell, each in found.items():
        at = tuple(place[dim][value] for dim, value in zip(DIMS, cell))
        accuracy[at][: len(each["accuracy"])] = each["accuracy"]
        looks = np.searchsorted(epochs, each["epochs"])
        for part, values in zip(after, _mean_over_networks(each["after_fit"])):
            part[at][looks] = values
    study["protocol"] = "protocol", list(SELECTIONS), {"long_name": PROTOCOL}
    about = {"long_name": "epochs since the first fit of a network", "units": "1"}
    study["epochs_after_fit"] = "epochs_after_fit", epochs, about
    over = (*DIMS, "network", "protocol")
    put(study, "network_accuracy", xr.DataArray(accuracy, dims=over), "test accuracy of a network")
    _put_mean(
        study,
        "accuracy_at",
        (*DIMS, "protocol"),
        _mean_over_networks(np.moveaxis(accuracy, -2, 0)),
        "test accuracy of trained networks at a protocol",
    )
    _put_mean(
        study,
        "accuracy_after_fit",
        (*DIMS, "epochs_after_fit"),
        after,
        "test accuracy of trained networks so many epochs after their first fit",
    )


def _put_mean(study: xr.Dataset, name: str, dims: tuple, values, quantity: str) -> None:
    mean, error, df = (xr.DataArray(each, dims=dims) for each in values)
    put(study, name, mean, f"{quantity}, mean")
    put(study, f"{name}_stderr", error, f"standard error of {quantity}")
    put(study, f"{name}_df", df, f"degrees of freedom of the standard error of {name}")


def _of_references(
    study: xr.Dataset, runs: Mapping[tuple, Mapping]
) -> Iterator[tuple[tuple, Mapping]]:
    """Position over the first four dimensions and the run of ``study["reference"]`` there."""
    for at, name in np.ndenumerate(study["reference"].values):
        key = tuple(study[dim].values[i].item() for dim, i in zip(DIMS, at))
        if (*key, name) in runs:
            yield at, runs[*key, name]


def add_density(study: xr.Dataset, runs: Mapping[tuple, Mapping]) -> None:
    """Add ln Pr[A] under uniform weights, as the reference of each cell has it."""
    shape = [study.sizes[dim] for dim in DIMS[:4]]
    found = {
        at: run["_log_p"]
        for at, run in _of_references(study, runs)
        if "_log_p" in run and run["_log_p"].ndim == 1  # joint has one a bin of accuracies
    }
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
    for cell, run in _of_references(study, runs):
        scores, tests = run.get("_scores"), study["n_test"].values[cell[0]]
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


def _mean_over_networks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis of what is known, its standard error, NaN below two, and the degrees
    of freedom of that."""
    known = (~np.isnan(values)).sum(axis=0)
    total = np.nansum(values, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / known
        variance = np.nansum((values - mean) ** 2, axis=0) / (known - 1)
        error = np.where(known > 1, np.sqrt(variance / known), np.nan)
    return mean, error, np.where(known > 0, known - 1.0, np.nan)


def _at_least(scores: np.ndarray, shares: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Share of the interpolators with at least so many correct test examples."""
    above = np.append(np.cumsum(shares[::-1])[::-1], 0.0)
    return above[np.searchsorted(scores, np.nan_to_num(wanted))]
