"""Mean test score at the goal of a production, where it is not an accuracy.

``Production.accuracy`` adds scores up; what scores of a loss stand for is no multiple of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from volumetry.estimate.production import Agreement, Production, compare
from volumetry.estimate.reweighting import jackknife_stderr

MeanScore = Callable[[np.ndarray], float]
"""``System.mean_score``."""


class Score(NamedTuple):
    """A mean test score, of interpolators.

    Attributes:
        value, stderr: it, and its error, in the units of what is measured.
        df: degrees of freedom of the error.
    """

    value: float
    stderr: float
    df: float


def score_at_top(production: Production, mean_score: MeanScore) -> Score:
    """Mean test score at the highest level, with an error as ``Production.stderr`` has it."""
    parts = (1, production.stretches)
    errors = [jackknife_stderr(_without(production, mean_score, part)) for part in parts]
    value = _score_of(production.top_counts().sum(axis=0), mean_score)
    return Score(value, float(np.maximum(*errors)), float(production.df_of(errors)))


def sets_agree_on_score(
    production: Production, mean_score: MeanScore, sides: np.ndarray
) -> Agreement:
    """Whether walker sets agree on that mean; ``sides`` as for ``compare``."""
    without = _without(production, mean_score, 1)
    return compare(without.reshape(-1, production.stretches), sides)


def _without(production: Production, mean_score: MeanScore, pooled: int) -> np.ndarray:
    """The mean without each of the groups of ``pooled`` stretches."""
    counts = production.top_counts()
    total = counts.sum(axis=0)
    groups = production.pool(counts, pooled)
    return np.array([_score_of(total - group, mean_score) for group in groups])


def _score_of(counts: np.ndarray, mean_score: MeanScore) -> float:
    """Mean of scores that were met so often; NaN of none."""
    return mean_score(counts / counts.sum()) if counts.any() else np.nan
