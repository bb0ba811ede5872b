"""Which sampler's interpolators the others are compared with, in each cell of a study.

A study may run more than one sampler of ``roles.REFERENCES``. The first that converged counts. Two
that converged, and still contradict each other, did not converge: one of them is wrong, and nobody
knows which.
"""

from itertools import combinations

import numpy as np
import xarray as xr
from scipy import stats

from volumetry.estimate.criteria import SAMPLERS_AGREE, complaints, verdict
from volumetry.methods.result import OF_LOSS
from volumetry.results.roles import REFERENCES
from volumetry.results.run_files import CELL_VARIABLES, DIMS
from volumetry.results.statistics import difference, normal_score


def only(study: xr.Dataset, sampler: str) -> xr.Dataset:
    """The numbers of one sampler; all NaN if the study does not have it."""
    return _numbers(study).reindex(sampler=[sampler]).isel(sampler=0, drop=True)


def compare(a: xr.Dataset, b: xr.Dataset, variable: str):
    """a - b of a variable, with its error and the degrees of freedom of that."""
    return difference(
        *(each[f"{variable}{part}"] for part in ("", "_stderr", "_df") for each in (a, b))
    )


def disagreement(study: xr.Dataset, pair: tuple[str, str], variable: str) -> xr.DataArray:
    """The difference of two samplers in a variable, as a normal score."""
    return normal_score(*compare(*(only(study, sampler) for sampler in pair), variable))


def choose_reference(study: xr.Dataset) -> None:
    """Add ``reference`` to a study: the name of a sampler, empty where none ran.

    Where two contradict each other, ``converged`` and ``verdict`` of both say so afterwards.
    """
    present = [sampler for sampler in REFERENCES if sampler in study["sampler"].values]
    for pair in combinations(present, 2):
        _judge_agreement(study, pair)
    chosen = np.full([study.sizes[dim] for dim in DIMS[:4]], "", object)
    for least in (1, 0):  # one that did not converge is better than none
        for sampler in present:
            usable = study["converged"].sel(sampler=sampler) >= least
            chosen[(chosen == "") & usable.values] = sampler
    name = "sampler whose interpolators the others are compared with"
    study["reference"] = DIMS[:4], chosen, {"long_name": name}


def of_reference(study: xr.Dataset) -> xr.Dataset:
    """The numbers of the reference of each cell; NaN where there is none."""
    return _numbers(study).where(study["sampler"] == study["reference"]).max("sampler")


def _numbers(study: xr.Dataset) -> xr.Dataset:
    return study[[*CELL_VARIABLES, *(name for name in OF_LOSS if name in study)]]


def _judge_agreement(study: xr.Dataset, pair: tuple[str, str]) -> None:
    """Take back that two samplers converged, where they contradict each other."""
    both = (study["converged"].sel(sampler=list(pair)) == 1).all("sampler")
    compared = {"ln V": "log_volume", "accuracy": "test_accuracy", "loss": "test_loss"}
    scores = {
        quantity: disagreement(study, pair, variable).transpose(*DIMS[:4])
        for quantity, variable in compared.items()
        if variable in study
    }
    samplers = list(study["sampler"].values)
    for cell in zip(*np.nonzero(both.transpose(*DIMS[:4]).values)):
        for own, rival in (pair, pair[::-1]):
            criteria = [
                SAMPLERS_AGREE.judge(
                    2 * stats.norm.sf(abs(score.values[cell])), quantity=quantity, rival=rival
                )
                for quantity, score in scores.items()
            ]
            if complaints(criteria):
                at = (*cell, samplers.index(own))
                study["converged"].values[at] = 0
                study["verdict"].values[at] = verdict(criteria)
