"""What is asked of an aggregated study again and again."""

from collections.abc import Iterator

import xarray as xr


def status(study: xr.Dataset) -> xr.DataArray:
    """For each run 'converged', 'censored' (Guess & Check without a hit) or 'not converged'.

    Empty where the study has no such run.
    """
    words = xr.where(study["converged"] == 1, "converged", "not converged")
    words = xr.where(study["log_volume_upper"].notnull(), "censored", words)
    return words.where(study["converged"].notnull(), "")


def systems(study: xr.Dataset) -> list[str]:
    """What is measured in a study: ``classification``, ``sensing`` or both."""
    if "test_loss" not in study:
        return ["classification"]
    there = study["converged"].notnull()
    rest = [dim for dim in there.dims if dim != "dataset"]
    classified = there.any(rest) & ~study["test_loss"].notnull().any(rest)
    return ["sensing"] + ["classification"] * bool(classified.any())


def cases(study: xr.Dataset) -> Iterator[tuple[str, str, xr.Dataset]]:
    """(dataset, architecture, their part of the study), for each pair of them."""
    for dataset in study["dataset"].values:
        for architecture in study["architecture"].values:
            yield dataset, architecture, study.sel(dataset=dataset, architecture=architecture)
