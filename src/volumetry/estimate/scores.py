"""Mean test score at the goal of a production, where it is not an accuracy.

``Production.accuracy`` adds scores up; what scores of a loss stand for is no multiple of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from volumetry.estimate.production import Production
from volumetry.estimate.reweighting import jackknife_stderr

MeanScore = Callable[[np.ndarray], float]
"""``System.mean_score``."""


class Score(NamedTuple):
    """A mean test score, of interpolators.

    Attributes:
        value, stderr: it, and its error, in the units of what is measured.
        df: degrees of freedom of the error.
        without: (sets, stretches): the mean without a stretch, for ``production.compare``.
    """

    value: float
    stderr: float
    df: float
    without: np.ndarray


def score_at_top(production: Production, mean_score: MeanScore) -> Score:
    """Mean test score at the highest level, with an error as ``Production.stderr`` has it."""
    counts, stretches = production.top_counts(), production.stretches
    total = counts.sum(axis=0)
    without = [
        np.array(
            [_score_of(total - group, mean_score) for group in production.pool(counts, pooled)]
        )
        for pooled in (1, stretches)
    ]
    errors = [jackknife_stderr(each) for each in without]
    return Score(
        _score_of(total, mean_score),
        float(np.maximum(*errors)),
        float(production.df_of(errors)),
        without[0].reshape(-1, stretches),
    )


def _score_of(counts: np.ndarray, mean_score: MeanScore) -> float:
    """Mean of scores that were met so often; NaN of none."""
    return mean_score(counts / counts.sum()) if counts.any() else np.nan
