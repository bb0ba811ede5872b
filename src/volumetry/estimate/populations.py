"""What annealed populations say, and how well they know it."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, stdtr

from volumetry.estimate.reweighting import jackknife_stderr


class Way(NamedTuple):
    """Populations that went through the same inverse temperatures of the same x.

    Attributes:
        along: (levels,): x, what beta multiplies.
        beta: (K,): inverse temperatures, ascending from 0.
        log_z: (P, K): ln Z(beta) / Z(0) of each population.
        reference: (K,): ln Z(beta) / Z(0), about, the same for all.
        share: (P, levels): fraction of a population's moves after which a member was at a level,
            times its Z over the reference, summed over the rungs.
    """

    along: np.ndarray
    beta: np.ndarray
    log_z: np.ndarray
    reference: np.ndarray
    share: np.ndarray

    def expected(self) -> np.ndarray:
        """ln of the sum over rungs of exp(beta x) / Z(beta): (levels,).

        It is what ``share`` is on average, over the probability of the level.
        """
        total = np.full(len(self.along), -np.inf)
        for beta, log_z in zip(self.beta, self.reference):
            np.logaddexp(total, beta * self.along - log_z, out=total)
        return total


_FEW = 20
"""Independent members of a population that are so few that populations may be alike by chance."""


class Populations:
    """Independent populations that went to the goal, by one way or by several.

    A population's product of mean weights is an unbiased estimate of each partition function
    Z(beta), and so is what follows from it for the density of states (Hukushima & Iba 2003,
    doi:10.1063/1.1632130; Machta 2010, doi:10.1103/PhysRevE.82.026704): rungs are joined (as by
    Ferrenberg & Swendsen 1989) with references that are no population's own, and populations are
    averaged, on the linear scale, level by level. ln V itself is that of a log-normal mean
    (``log_normal_mean``).

    Attributes:
        ways: those that each of them went; the p-th of every way makes one together.
        each: (P, levels): ln of the probability of a level, as each population has it.
        log_p: (levels,): the same of all, nats; -inf where never met.
    """

    def __init__(
        self,
        ways: Sequence[Way],
        goal: np.ndarray,
        test_counts: np.ndarray | None = None,
        independent: np.ndarray | None = None,
        mean_score: Callable[[np.ndarray], float] | None = None,
    ):
        """Estimate everything.

        Args:
            goal: bool (levels,): whose probability is the volume.
            test_counts: (P, N + 1): how often a member at the goal had each test score; without
                them, no mean score is known.
            independent: (P,): members that each population is worth; without them, the spread
                between populations alone tells the error of ln V.
            mean_score: what fractions of each score, (N + 1,), make on average; needed with them.
        """
        self.ways = ways
        with np.errstate(divide="ignore"):
            share = np.log(sum(way.share for way in ways))
        self.each = share - np.logaddexp.reduce([way.expected() for way in ways])
        self.log_p = log_mean(self.each)
        self._goal, self._test_counts, self._mean = goal, test_counts, mean_score
        few = 0.0 if independent is None else float(np.mean(1 / independent))
        self._least_variance = few if few > 1 / _FEW else 0.0

    @cached_property
    def log_volumes(self) -> np.ndarray:
        """ln V of each population: (P,), nats."""
        return logsumexp(self.each[:, self._goal], axis=1)

    @cached_property
    def log_volume(self) -> float:
        """ln V, nats."""
        return float(log_normal_mean(self.log_volumes))

    @cached_property
    def score_shares(self) -> np.ndarray:
        """Fraction of the goal at each test score, every population with its volume: (N + 1,)."""
        return _weighted(self.log_volumes, self._test_counts)

    @cached_property
    def score(self) -> float:
        """Mean score at the goal."""
        return self._mean(self.score_shares)

    @cached_property
    def log_p_stderr(self) -> np.ndarray:
        """Delete-one-population errors of ``log_p``: (levels,), nats; NaN where one alone was."""
        return log_mean_stderr(self.each)

    @cached_property
    def log_volume_stderr(self) -> float:
        """Standard error of ``log_volume``, nats.

        A few populations may be alike by chance, and then both too low and too sure. Of F members
        that are independent follows a variance, too, 1 / F (Wang, Machta & Katzgraber 2015, who
        count families). Where they are few, it is a third of the true one or so, but hardly
        scatters: the least that is believed. Where they are many, it may be more than the true one.
        """
        return float(log_normal_mean_stderr(self.log_volumes, self._least_variance))

    @cached_property
    def score_stderr(self) -> float:
        """Delete-one-population error of ``score``."""
        kept = zip(_without_one(self.log_volumes), _without_one(self._test_counts))
        return float(_jackknife([self._mean(_weighted(*part)) for part in kept]))

    @cached_property
    def by_shape(self) -> float:
        """How much of ``log_volume`` hangs on the shape of the distribution, s^2 / 2, nats."""
        return float(self.log_volumes.var(ddof=1) / 2)

    @cached_property
    def outlier(self) -> float:
        """p-value of Grubbs's test: that one of so many normal ln V is as far from the others."""
        return grubbs_p_value(self.log_volumes)


def log_normal_mean(values: np.ndarray) -> np.ndarray:
    """ln of the mean of exp(values) over the first axis, values being normal: m + s^2 / 2.

    ln Z of a population is close to normal (Wang, Machta & Katzgraber 2015,
    doi:10.1103/PhysRevE.92.063307, who find the bias of a population's ln Z in this way). The mean
    of a few exp(values) is nearly always too small, by s^2 / 2P as long as that is little.

    Returns:
        That, and ``log_mean`` where a value is not finite.
    """
    finite = np.isfinite(values).all(axis=0)
    safe = np.where(finite, values, 0.0)
    normal = safe.mean(axis=0) + safe.var(axis=0, ddof=1) / 2
    return np.where(finite, normal, log_mean(values))


def log_normal_mean_stderr(values: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Standard error of ``log_normal_mean``: sqrt(s^2 / P + s^4 / 2(P - 1)), m and s^2 being
    independent of each other; that of ``log_mean`` where a value is not finite.

    Args:
        least: of the variance s^2.
    """
    count = len(values)
    finite = np.isfinite(values).all(axis=0)
    variance = np.maximum(np.where(finite, values, 0.0).var(axis=0, ddof=1), least)
    normal = np.sqrt(variance / count + variance**2 / 2 / (count - 1))
    return np.where(finite, normal, log_mean_stderr(values))


def grubbs_p_value(values: np.ndarray) -> float:
    """How probable it is that one of P normal values is so far from their mean, either way.

    Grubbs (1969, doi:10.1080/00401706.1969.10490657), with Bonferroni's bound, at most 1; NaN with
    fewer than three values, or with values that are all the same.
    """
    count, spread = len(values), values.std(ddof=1)
    if count < 3 or not spread > 0:
        return np.nan
    farthest = np.abs(values - values.mean()).max() / spread
    room = max((count - 1) ** 2 / count - farthest**2, np.finfo(float).eps)
    t = farthest * np.sqrt((count - 2) / room)
    return float(min(1.0, 2 * count * stdtr(count - 2, -t)))


def lag_p_value(lags: np.ndarray, stderr: float) -> float:
    """How probable such lags are, on average above zero, of members in equilibrium: one-sided t.

    Args:
        lags: (P,): of each population, nats (``methods.annealing.Anneal``).
        stderr: of ln V. A mean lag below half of it does not matter: the probability is 1.
    """
    mean, error = lags.mean(), lags.std(ddof=1) / np.sqrt(len(lags))
    if not mean > stderr / 2:
        return 1.0
    return float(stdtr(len(lags) - 1, -mean / error)) if error > 0 else 0.0


def log_mean(values: np.ndarray) -> np.ndarray:
    """ln of the mean of exp(values) over the first axis."""
    with np.errstate(divide="ignore"):
        return logsumexp(values, axis=0) - np.log(len(values))


def log_mean_of_few(values: np.ndarray) -> np.ndarray:
    """``log_mean``, without the bias that few independent values have, to the first order."""
    weight = np.exp(values - values.max(axis=0))
    spread = weight.var(axis=0, ddof=1) / weight.mean(axis=0) ** 2
    return log_mean(values) + spread / 2 / len(values)


def log_mean_stderr(values: np.ndarray) -> np.ndarray:
    """Delete-one error of ``log_mean``; NaN where one value alone is finite."""
    return _jackknife([log_mean(kept) for kept in _without_one(values)])


def _without_one(values: np.ndarray) -> np.ndarray:
    """All but one along the first axis, for each: (P, P - 1, ...)."""
    return np.array([np.delete(values, one, axis=0) for one in range(len(values))])


def _jackknife(replicates: list) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # levels that were not met
        return jackknife_stderr(np.array(replicates))


def _weighted(log_volumes: np.ndarray, test_counts: np.ndarray) -> np.ndarray:
    """Fraction of each score, of populations weighted with their volumes; NaN without a test."""
    tests = test_counts.sum(axis=1)
    tested = tests > 0
    if not tested.any():
        return np.full(test_counts.shape[1], np.nan)
    weight = np.exp(log_volumes[tested] - log_volumes[tested].max())
    return (weight / weight.sum() / tests[tested]) @ test_counts[tested]


def effective_families(family: np.ndarray) -> float:
    """Families that a population is worth, 1 / sum of the squares of their shares: 1 to members.

    Args:
        family: int (members,): the founder that each descends from.
    """
    share = np.bincount(family) / len(family)
    return float(1 / (share**2).sum())


def effective_lineages(means: np.ndarray, squares: np.ndarray, members: int) -> np.ndarray:
    """Independent settings of a layer's weights that each population is worth: (P,).

    With q the mean product of the weights of two members, themselves included, q0 that of
    members of different populations, and s the mean square of a weight, (s - q0) / (q - q0): 1
    where all members have the same weights, and the number of members where they are no more alike
    than strangers, or where all populations came to the same weights.

    Args:
        means, squares: (P, weights of the layer): mean over the members.
        members: of each population.
    """
    overlap = means @ means.T / means.shape[1]
    populations = len(means)
    within = np.diag(overlap)
    between = (overlap.sum() - within.sum()) / max(1, populations * (populations - 1))
    alike = np.maximum(within - between, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(alike > 0, (squares.mean(axis=1) - between) / alike, members)
    return found.clip(1, members)
