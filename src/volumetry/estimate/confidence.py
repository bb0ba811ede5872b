"""Exact intervals and tail probabilities of a volume that is known by uniform draws alone.

Draws end in one of two ways: their budget is spent, whatever number of them fitted (binomial), or
the wanted number of fits is there, with the last draw (negative binomial: the number of draws is
what chance decides). A search that stops at whichever comes first has both outcomes, and what is
said here of each is exact for it too.
"""

import numpy as np
from scipy.special import betainc, betaincc, betaincinv

CONFIDENCE = 0.95
"""What every interval covers, unless it says otherwise."""

TAIL = 0.5 + CONFIDENCE / 2
"""Quantile of the upper end of a two-sided interval."""

LEAST_HITS = 10
"""Fits from which on ln(hits / draws) counts as a measurement of ln V.

If all log-volumes are as likely beforehand, ln V given h fits is that of a Gamma(h) variable over
the draws, so ln(h / draws) is too high by ln h - digamma(h), about 1 / (2 h), with a standard
deviation of about 1 / sqrt(h); this holds however the runs were selected by h. Ten fits make it
0.05 nats, a sixth of the error; one makes it 0.58, and where V x draws is 0.3, a run that has its
one fit is 1.2 nats too high.
"""


def clopper_pearson(hits, draws, stopped_at_hit=False):
    """Exact two-sided interval of a probability (Clopper & Pearson 1934, 10.1093/biomet/26.4.404).

    Args:
        hits, draws: counts, arrays of one shape; NaN gives NaN.
        stopped_at_hit: whether the draws ended with the last hit that was wanted, or else with
            their budget.

    Returns:
        (low, high) fractions; low is 0 where hits = 0, and high is 1 where hits = draws.
    """
    hits, draws = np.asarray(hits, float), np.asarray(draws, float)
    known = np.isfinite(hits) & np.isfinite(draws)
    some, missed = hits > 0, hits < draws
    low = betaincinv(np.where(some, hits, 1), draws - hits + 1, 1 - TAIL)
    # Where the draws ended with a hit, one hit fewer among one draw fewer was left to chance.
    above = hits + 1 - np.asarray(stopped_at_hit, bool)
    high = betaincinv(np.where(some, above, 1), np.where(missed, draws - hits, 1), TAIL)
    low, high = np.where(some, low, 0.0), np.where(missed, high, 1.0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def hit_tails(hits: float, draws: float, volume, stopped_at_hit: bool = False):
    """How likely draws from a volume give as few hits, and as many, each outcome itself included.

    Args:
        hits, draws: counts.
        volume: probability of a hit, an array.
        stopped_at_hit: as for ``clopper_pearson``.

    Returns:
        Two probabilities for each volume: of no more hits, and of no fewer.
    """
    few = many = np.ones_like(volume, float)
    if hits < draws:
        few = betaincc(hits + 1 - bool(stopped_at_hit), draws - hits, volume)
    if hits > 0:
        many = betainc(hits, draws - hits + 1, volume)
    return few, many
