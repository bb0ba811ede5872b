"""What a study of matrix sensing says: how the generalisation loss goes with the architecture.

A loss ``rises`` or ``falls`` from the first architecture to the last where the 95 % interval of
their ratio, paired by replicate, excludes 1; else that is not resolved.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from volumetry.report.numbers import estimate
from volumetry.report.style import style
from volumetry.results.roles import GUESSING, REFERENCES, TRAINED


def headlines(study: xr.Dataset) -> list[str]:
    """A sentence for each dataset, n and kind of sampler; none without matrix sensing."""
    if "test_loss" not in study:
        return []
    return [
        said
        for dataset in study["dataset"].values
        for n in study["n"].values
        for said in _of_case(study.sel(dataset=dataset, n=n), f"On {dataset} with n = {n}")
    ]


def _of_case(case: xr.Dataset, place: str) -> Iterator[str]:
    random = [name for name in (*REFERENCES, GUESSING) if _known(case, name)]
    random = sorted(random, key=lambda name: _not_converged(case, name))[:1]
    trained = [name for name in TRAINED if _known(case, name)][:1]
    for name, what in (
        *((name, "of weights that fit by chance") for name in random),
        *((name, f"of {style(name).label}") for name in trained),
    ):
        yield f"{place}, the generalisation loss {what} {_course(case.sel(sampler=name))}"
    if random and trained:
        yield _beside(case, trained[0], place)


def _known(case: xr.Dataset, sampler: str) -> bool:
    names = case["sampler"].values
    return sampler in names and bool(case["test_loss_mean"].sel(sampler=sampler).notnull().any())


def _not_converged(case: xr.Dataset, sampler: str) -> int:
    """Runs of a sampler that did not converge."""
    return int((case["converged"].sel(sampler=sampler) == 0).sum())


def _course(part: xr.Dataset) -> str:
    """How a loss goes from the first architecture to the last."""
    there = part["architecture"].values[part["test_loss_mean"].notnull().values]
    first, last = part.sel(architecture=there[0]), part.sel(architecture=there[-1])
    if len(there) == 1:
        return f"is {estimate(last, 'test_loss_mean', 4, '')} ({there[0]})."
    ends = (
        f"from {estimate(first, 'test_loss_mean', 4, '')} ({there[0]}) to "
        f"{estimate(last, 'test_loss_mean', 4, '')} ({there[-1]})"
    )
    if np.isnan(part["test_loss_ratio"]):
        return f"goes {ends}."
    ratio = f"by a factor of {estimate(part, 'test_loss_ratio', 3, '')}"
    if part["test_loss_ratio_low"] > 1:
        return f"rises {ends}, {ratio}."
    if part["test_loss_ratio_high"] < 1:
        return f"falls {ends}, {ratio}."
    return f"goes {ends}, {ratio}: that is not resolved."


def _beside(case: xr.Dataset, trained: str, place: str) -> str:
    """By how much what training finds is better than what fits by chance, matrix by matrix."""
    label, part = style(trained).label, case.sel(sampler=trained)
    low = part["test_loss_factor_low"]
    of, better = int(low.notnull().sum()), int((low > 1).sum())
    if not of:
        return f"{place}, too few replicates to compare {label} with what fits by chance."
    least = part.isel(architecture=int(np.nanargmin(part["test_loss_factor"].values)))
    factor = f"{estimate(least, 'test_loss_factor', 2, '')} ({least['architecture'].item()})"
    if better == of:
        return (
            f"{place}, {label} loses less than what fits by chance with every architecture, by a "
            f"factor of {factor} or more."
        )
    return (
        f"{place}, {label} loses less than what fits by chance with {better} of {of} "
        f"architectures; the least factor is {factor}."
    )
