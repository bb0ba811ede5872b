"""What another architecture changes: each less the first of a study, training set by training set.

Architectures of a study see the same subsets, so a difference within a replicate is free of what
subsets differ by. ``log_volume_contrast`` compares probabilities, each under the measure of its own
weights: binary weights beside real ones, wide networks beside narrow ones.
"""

import numpy as np
import xarray as xr

from volumetry.results.reference import compare, of_reference
from volumetry.results.statistics import difference
from volumetry.results.variables import put_mean


def add_contrasts(study: xr.Dataset) -> None:
    """Add the contrasts; none where the study has one architecture."""
    if study.sizes["architecture"] < 2:
        return
    random = of_reference(study)
    both = np.minimum(study["converged"], random["converged"])
    advantage = compare(study, random, "test_accuracy")
    log_volume, typical, found = (
        [each[f"{name}{part}"] for part in ("", "_stderr", "_df")]
        for each, name in (
            (random, "log_volume"),
            (random, "test_accuracy"),
            (study, "test_accuracy"),
        )
    )
    trained = study["sampler"] != study["reference"]
    for name, numbers, converged, quantity, units, bounds in (
        ("log_volume", log_volume, random["converged"], "ln V of the reference", "nat", None),
        (
            "reference_accuracy",
            typical,
            random["converged"],
            "test accuracy of the reference",
            "1",
            (-1, 1),
        ),
        ("test_accuracy", found, study["converged"], "test accuracy at A = n", "1", (-1, 1)),
        ("advantage", advantage, both, "advantage", "1", (-2, 2)),
    ):
        value, stderr, df = _less_the_first(*numbers)
        if name == "advantage":
            value = value.where(trained)
        value, stderr, df = (each.transpose(*converged.dims) for each in (value, stderr, df))
        flag = np.minimum(converged, converged.isel(architecture=0)).where(value.notnull())
        about = f"{quantity} less that of the first architecture, paired by replicate"
        put_mean(study, f"{name}_contrast", value, stderr, df, flag, about, units, bounds)


def _less_the_first(*numbers: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Value, error and degrees of freedom of the difference to the first architecture."""
    first = (each.isel(architecture=0, drop=True) for each in numbers)
    value, stderr, df = difference(*(each for pair in zip(numbers, first) for each in pair))
    return value.where(value["architecture"] != value["architecture"][0]), stderr, df
