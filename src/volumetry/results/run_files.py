"""The file of one run: what of it a study keeps."""

import os
import sys
from collections.abc import Mapping

import netCDF4
import numpy as np
from scipy.special import logsumexp

from volumetry.errors import DataError
from volumetry.methods.result import OF_LOSS, SELECTIONS

DIMS = ("dataset", "architecture", "n", "replicate", "sampler")
"""What tells a run apart from all others, and the dimensions of a study."""

CELL_VARIABLES = {
    "test_accuracy": ("test accuracy at A = n", "1"),
    "test_accuracy_stderr": ("standard error of the test accuracy", "1"),
    "test_accuracy_df": ("degrees of freedom of test_accuracy_stderr", "1"),
    "log_volume": ("log-volume ln Pr[A = n]", "nat"),
    "log_volume_stderr": ("standard error of the log-volume", "nat"),
    "log_volume_df": ("degrees of freedom of log_volume_stderr", "1"),
    "log_volume_upper": ("upper end of the 95 % interval of a censored log-volume", "nat"),
    "log_volume_low": ("lower end of the Clopper-Pearson interval of the log-volume", "nat"),
    "log_volume_high": ("upper end of the Clopper-Pearson interval of the log-volume", "nat"),
    "converged": ("whether the run met its convergence criteria", "flag"),
    "moves": ("Markov chain moves made", "count"),
    "guesses": ("independent uniform draws made", "count"),
    "epochs": ("passes over the training set, summed over networks", "count"),
    "hits": ("uniform draws that fitted the training set", "count"),
    "stopped_at_hit": (
        "whether the draws ended with the last hit wanted, and not with their budget",
        "flag",
    ),
    "n_networks": ("networks trained", "count"),
    "n_fitted": ("networks trained that fitted the training set", "count"),
    "round_trips": ("round trips of the replicas", "count"),
    "exchange_least": ("least share of exchanges accepted between neighbouring windows", "1"),
    "ln_f_last": ("largest ln f at the end of learning", "nat"),
    "lineages_least": ("least independent lineages of a layer's weights at A = n", "1"),
    "log_volume_drift": ("change of ln V between the halves of production, standard errors", "1"),
    "sum_rule": ("ln of the sum of g(A) over 2^M", "1"),
}
"""Numbers of each run: long_name and units, as for ``netcdf.cf_attributes``."""

ACCURACIES = np.linspace(0, 1, 201)
"""Grid of test accuracies for the distribution of the interpolators."""

FEWER = np.linspace(0, 1, 51)
"""The same for the joint distribution of A and the test accuracy."""


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
            scalars = (*CELL_VARIABLES, *OF_LOSS)
            run |= {name: found[name][...].item() for name in scalars if name in found}
            # The whole space of real weights has measure 1, that of binary ones 2^M.
            total = 0.0 if "weights" in run else int(run.get("n_weights", 0)) * np.log(2)
            if "log_g" in found and "n_weights" in run:
                log_p = found["log_g"][...] - total
                run["sum_rule"] = float(logsumexp(log_p))
                if "A" in file.dimensions:  # and no bins of a loss
                    run["_log_p"] = log_p
            run |= _extremes(found)
            if "tail_log_volume" in found:
                run["_joint"] = _read_joint(found, int(run["n_test"]), total)
            if "fitted" in found:
                fitted = found["fitted"][...]
                run |= {"n_networks": fitted.size, "n_fitted": int(fitted.sum())}
            if "test_accuracy_after_fit" in found:
                run["_networks"] = _read_networks(found)
            if scores := _read_scores(found, int(run.get("n_test", 0))):
                run["_scores"] = scores
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


def _extremes(file: Mapping[str, netCDF4.Variable]) -> dict[str, float]:
    """What was worst among windows, learning steps or layers."""
    found = {}
    if "exchange_acceptance" in file and (rates := file["exchange_acceptance"][...]).size > 1:
        found["exchange_least"] = float(np.nanmin(rates))  # the last window has no next one
    if "ln_f" in file:
        found["ln_f_last"] = float(file["ln_f"][-1].max())
    if "lineages" in file:
        lineages = file["lineages"][...]
        if file["lineages"].dimensions[0] == "population":
            lineages = lineages.sum(axis=0)
        found["lineages_least"] = float(lineages.min())
    return found


def _read_networks(file: Mapping[str, netCDF4.Variable]) -> dict:
    """Test accuracies of trained networks: over (network, selection) and, on the way after the
    first fit, over (network, epochs)."""
    return {
        "accuracy": np.stack([file[f"test_accuracy_{each}"][...] for each in SELECTIONS], axis=1),
        "epochs": file["epochs_after_fit"][...],
        "after_fit": file["test_accuracy_after_fit"][...],
    }


def _read_scores(
    file: Mapping[str, netCDF4.Variable], n_test: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Test scores (correct examples, ascending) that interpolators were seen with, and the fraction
    of each, of a sampler that reached A = n."""
    if "test_loss" in file:
        return None
    if "log_volume" not in file or not np.isfinite(file["log_volume"][...]):
        return None
    if "score_shares" in file:
        shares = file["score_shares"][...]
    elif "test_counts" in file:
        shares = file["test_counts"][...].astype(float)
    elif "log_g_joint" in file:
        at_goal = file["log_g_joint"][...][-1]
        shares = np.exp(at_goal - at_goal.max())
    else:
        return None
    met = np.flatnonzero(shares > 0)
    if not met.size:
        return None
    scores = np.arange(len(shares))
    if "hits_low" in file:  # a bin of several scores stands at the middle of them
        scores = np.floor(_middles(file, n_test)).astype(int)
    return scores[met], shares[met] / shares[met].sum()


def _middles(file: Mapping[str, netCDF4.Variable], n_test: int) -> np.ndarray:
    """Middle of the test scores of each bin of joint, correct examples."""
    low = file["hits_low"][...]
    return (low + np.append(low[1:], n_test + 1) - 1) / 2


def _read_joint(file: Mapping[str, netCDF4.Variable], n_test: int, log_total: float) -> dict:
    """Tail volumes by sampler, and the distributions of the accuracy, of a run of joint: given that
    all n fit, and together with A.

    Args:
        log_total: ln of the measure of the whole weight space.
    """
    samplers = file["network_sampler"][...]
    tails, errors = file["tail_log_volume"][...], file["tail_log_volume_stderr"][...]
    by_sampler = {s: (tails[samplers == s], errors[samplers == s]) for s in np.unique(samplers)}
    # Density over accuracy, so that bins of any width compare.
    low = file["hits_low"][...]
    per_accuracy = np.log(np.diff(np.append(low, n_test + 1)) / n_test)
    centre = _middles(file, n_test) / n_test
    joint = file["log_g_joint"][...] - log_total
    return {
        "tails": by_sampler,
        "density": _on_grid(centre, file["log_p_given_fit"][...] - per_accuracy, ACCURACIES),
        "joint": np.array([_on_grid(centre, row - per_accuracy, FEWER) for row in joint]),
    }


def _on_grid(centre: np.ndarray, density: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A logarithmic density between bins, on a grid of accuracies; NaN beyond what is known."""
    known = np.isfinite(density)
    if not known.any():
        return np.full(len(grid), np.nan)
    return np.interp(grid, centre[known], density[known], left=np.nan, right=np.nan)
