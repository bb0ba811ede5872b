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
    sensing = ["sensing"] if "test_loss" in study else []
    return sensing + ["classification"] * bool(study["n_classes"].notnull().any())


def cases(study: xr.Dataset) -> Iterator[tuple[str, str, xr.Dataset]]:
    """(dataset, architecture, their part of the study), for each pair of them."""
    for dataset in study["dataset"].values:
        for architecture in study["architecture"].values:
            yield dataset, architecture, study.sel(dataset=dataset, architecture=architecture)
