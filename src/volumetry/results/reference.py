"""Which sampler's interpolators the others are compared with, in each cell of a study.

A study may run more than one sampler of ``roles.REFERENCES``. The first that converged counts. Two
that converged, and still contradict each other, did not converge: one of them is wrong, and nobody
knows which.
"""

from collections import defaultdict
from collections.abc import Sequence
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
    _judge_agreement(study, present)
    chosen = np.full([study.sizes[dim] for dim in DIMS[:4]], "", object)
    scores = [study[name] for name in ("test_accuracy", "test_loss") if name in study]
    known = sum(score.notnull() for score in scores) > 0
    # One that did not converge is better than none, and one that found nothing the last.
    for usable in (known & (study["converged"] == 1), known, study["converged"].notnull()):
        for sampler in present:
            mine = usable.sel(sampler=sampler).transpose(*DIMS[:4])
            chosen[(chosen == "") & mine.values] = sampler
    name = "sampler whose interpolators the others are compared with"
    study["reference"] = DIMS[:4], chosen, {"long_name": name}


def of_reference(study: xr.Dataset) -> xr.Dataset:
    """The numbers of the reference of each cell; NaN where there is none."""
    return _numbers(study).where(study["sampler"] == study["reference"]).max("sampler")


def _numbers(study: xr.Dataset) -> xr.Dataset:
    return study[[*CELL_VARIABLES, *(name for name in OF_LOSS if name in study)]]


def _judge_agreement(study: xr.Dataset, present: Sequence[str]) -> None:
    """Take back that samplers converged, where two of them contradict each other."""
    compared = {"ln V": "log_volume", "accuracy": "test_accuracy", "loss": "test_loss"}
    converged = (study["converged"] == 1).transpose(*DIMS)
    samplers, said = list(study["sampler"].values), defaultdict(list)
    for pair in combinations(present, 2):
        scores = {
            quantity: disagreement(study, pair, variable).transpose(*DIMS[:4])
            for quantity, variable in compared.items()
            if variable in study
        }
        for cell in zip(*np.nonzero(converged.sel(sampler=list(pair)).all("sampler").values)):
            for own, rival in (pair, pair[::-1]):
                said[*cell, samplers.index(own)] += [
                    SAMPLERS_AGREE.judge(
                        2 * stats.norm.sf(abs(score.values[cell])), quantity=quantity, rival=rival
                    )
                    for quantity, score in scores.items()
                ]
    for at, criteria in said.items():
        if complaints(criteria):
            study["converged"].values[at] = 0
            study["verdict"].values[at] = verdict(criteria)
