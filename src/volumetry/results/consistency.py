"""Checks of one result by another: what each may differ by, and what it would notice."""

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import expit

from volumetry.estimate.confidence import hit_tails

_STEP = 0.05
_LOGIT = np.arange(-30, 30 + _STEP / 2, _STEP)
_WEIGHT = _STEP * expit(_LOGIT) * expit(-_LOGIT)
_QUANTILE = expit(-np.abs(_LOGIT))


def hits_p_value(
    hits: float, draws: float, stopped_at_hit: bool, log_volume: float, stderr: float, df: float
) -> float:
    """How probable it is, if a log-volume is right, that uniform draws differ from it so much.

    Exact for a known volume (binomial, or negative binomial where the draws end with a hit); for a
    measured one averaged over ln V = ``log_volume`` + ``stderr`` x Student's t. Draws without a hit
    tell of volumes that are too large.

    Args:
        hits, draws: counts.
        stopped_at_hit: as for ``confidence.clopper_pearson``.
        log_volume, stderr: nats; an error of 0 for a known volume.
        df: degrees of freedom of the error.

    Returns:
        Twice the smaller tail, at most 1; NaN where something is not known.
    """
    if not np.isfinite([hits, draws, log_volume, stderr]).all() or np.isnan(df):
        return np.nan
    # Even far in the tails of t, which decide about small probabilities.
    t = np.sign(_LOGIT) * stats.t.isf(_QUANTILE, df)
    volume = np.exp(np.minimum(log_volume + stderr * t, 0.0))
    tails = [each @ _WEIGHT for each in hit_tails(hits, draws, volume, stopped_at_hit)]
    return float(min(1.0, 2 * min(tails)))


def slope_side(first: xr.Dataset, last: xr.Dataset, examples: xr.DataArray) -> xr.Dataset:
    """Where the slope of the log-volume lies, and which errors of ln V would move it elsewhere.

    Each further example multiplies the volume by the chance that a random interpolator is right on
    it, whose mean over examples is Qr. So over a step from n to n' -d ln V/dn is the mean of
    -ln(chance): by Jensen's inequality not below the mean of -ln Qr(k) over the step, and above it
    the more the examples differ. Qr(k) is known at the two ends. Below the values at both, the
    slope contradicts the accuracy; above both, it may be that examples differ, or that ln V is
    wrong.

    Args:
        first, last: -d ln V/dn less -ln Qr(n), and less -ln Qr(n'), paired by replicate: ``low``
            and ``high``, ends of the interval of the mean, nats for each example.
        examples: n' - n.

    Returns:
        ``side``: -1 where both intervals lie below zero, 1 where both lie above it, else 0; and
        ``too_large`` and ``too_small``, nats: by how much more ln V(n') would have to be too large
        for -1, and too small for 1. NaN without intervals.
    """
    highest = np.maximum(first["high"], last["high"])
    lowest = np.minimum(first["low"], last["low"])
    side = (lowest > 0).astype(float) - (highest < 0)
    return xr.Dataset(
        {
            "side": side.where((highest + lowest).notnull()),
            "too_large": (highest * examples).clip(min=0),
            "too_small": (-lowest * examples).clip(min=0),
        }
    )
