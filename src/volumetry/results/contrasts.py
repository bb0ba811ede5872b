"""What another architecture changes: each less the first of a study, training set by training set.

Architectures of a study see the same subsets, so a difference within a replicate is free of what
subsets differ by. ``log_volume_contrast`` compares probabilities, each under the measure of its own
weights: binary weights beside real ones, wide networks beside narrow ones. Losses are compared by
their logarithms.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from volumetry.results import statistics
from volumetry.results.advantage import of_runs
from volumetry.results.reference import of_reference
from volumetry.results.variables import put_mean


class _Measured(NamedTuple):
    """A quantity of every run or cell, with its error and the degrees of freedom of that."""

    value: xr.DataArray
    stderr: xr.DataArray
    df: xr.DataArray
    converged: xr.DataArray

    @classmethod
    def of(cls, numbers: xr.Dataset, name: str) -> "_Measured":
        return cls(
            *(numbers[f"{name}{part}"] for part in ("", "_stderr", "_df")), numbers["converged"]
        )


def add_contrasts(study: xr.Dataset) -> None:
    """Add the contrasts; none where the study has one architecture."""
    if study.sizes["architecture"] < 2:
        return
    random = of_reference(study)
    volume, accuracy = (_Measured.of(random, name) for name in ("log_volume", "test_accuracy"))
    _add(study, "log_volume", volume, "ln V of the reference", "nat")
    quantity = "test accuracy of the reference"
    _add(study, "reference_accuracy", accuracy, quantity, bounds=(-1, 1))
    found = _Measured.of(study, "test_accuracy")
    _add(study, "test_accuracy", found, "test accuracy at A = n", bounds=(-1, 1))
    more = _Measured(*of_runs(study, random))
    _add(study, "advantage", more, "advantage", bounds=(-2, 2))
    if "test_loss" in study:
        lost = _Measured.of(study, "test_loss")
        minus_log, stderr = statistics.minus_log(lost.value, lost.stderr)
        logarithm = lost._replace(value=-minus_log, stderr=stderr)
        _add(study, "log_loss", logarithm, "ln of the generalisation loss")


def _add(
    study: xr.Dataset,
    name: str,
    measured: _Measured,
    quantity: str,
    units: str = "1",
    bounds: tuple[float, float] | None = None,
) -> None:
    """The mean over replicates of the difference to the first architecture."""
    dims = measured.converged.dims
    first = [each.isel(architecture=0, drop=True) for each in measured]
    pairs = [each for pair in zip(measured[:3], first) for each in pair]
    value, stderr, df = (each.transpose(*dims) for each in statistics.difference(*pairs))
    value = value.where(value["architecture"] != value["architecture"][0])
    flag = np.minimum(measured.converged, first[3]).transpose(*dims)
    about = f"{quantity} less that with the first architecture, paired by replicate"
    put_mean(study, f"{name}_contrast", value, stderr, df, flag, about, units, bounds)
