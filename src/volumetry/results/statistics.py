"""The formulas behind the error bars of a study. Every interval covers 95 %.

Arrays are xarray DataArrays; ``replicate`` is the dimension of independent repetitions.
"""

import numpy as np
import xarray as xr
from scipy import stats

CONFIDENCE = 0.95
_TAIL = 0.5 + CONFIDENCE / 2


def replicate_interval(values: xr.DataArray, stderr: xr.DataArray) -> xr.Dataset:
    """Mean over replicates with its interval; NaN entries do not take part.

    With K >= 2 entries: mean +- t(K - 1) s / sqrt(K), Student's t and s the sample standard
    deviation (K - 1 in the denominator); it contains the spread over training subsets and the
    noise of the runs. With K = 1 the spread is unknown: value +- 1.96 stderr, which covers the
    noise of that one run alone.

    Args:
        values: one entry for each replicate.
        stderr: standard error of each entry; used only where K = 1.

    Returns:
        ``mean``, ``low``, ``high`` (units of ``values``) and ``replicates`` (K, a count), without
        the dimension ``replicate``.
    """
    count = values.count("replicate")
    mean = values.mean("replicate")
    spread = np.sqrt(((values - mean) ** 2).sum("replicate") / (count - 1).where(count > 1))
    quantile = xr.zeros_like(mean) + stats.t.ppf(_TAIL, (count - 1).where(count > 1))
    within = stderr.where(values.notnull()).mean("replicate")
    half = xr.where(
        count > 1, quantile * spread / np.sqrt(count), stats.norm.ppf(_TAIL) * within
    ).where(count > 0)
    return xr.Dataset(
        {"mean": mean, "low": mean - half, "high": mean + half, "replicates": count.astype(float)}
    )


def difference(a, b, stderr_a, stderr_b):
    """a - b and its standard error sqrt(stderr_a^2 + stderr_b^2), for independent a and b."""
    return a - b, np.hypot(stderr_a, stderr_b)


def minus_log(accuracy, stderr):
    """-ln Q and its standard error stderr / Q (first order); NaN where Q is zero."""
    accuracy = accuracy.where(accuracy > 0)
    return -np.log(accuracy), stderr / accuracy


def gibbs_error_bound(log_volume, n, delta: float = 1 - CONFIDENCE):
    """Upper bound on the mean error of a random interpolator, from its log-volume alone.

    Theorem (realisable PAC-Bayes; McAllester 1999, doi:10.1023/A:1007618624809, has the same form
    with a larger constant). Let n examples be independent draws, V the fraction of weight space
    that fits them, and L(w) the error of w on a new draw. With probability at least 1 - delta, the
    mean of L over the fits is at most 1 - (delta V)^(1/n).

    Proof. A fixed w fits with probability (1 - L(w))^n, so the mean over samples and over uniform w
    of [w fits] (1 - L(w))^-n is at most 1. By Markov's inequality its mean over w alone is at most
    1 / delta with probability 1 - delta. It equals V times the mean of (1 - L)^-n over the fits,
    and that mean is at least (1 - mean L)^-n by Jensen's inequality.

    Args:
        log_volume: ln V, nats.
        n: examples.

    Returns:
        The bound, a fraction.
    """
    return -np.expm1((log_volume + np.log(delta)) / n)


def clopper_pearson(hits, guesses):
    """Exact binomial interval of a probability (Clopper & Pearson 1934, 10.1093/biomet/26.4.404).

    Args:
        hits, guesses: counts, arrays of one shape; NaN gives NaN.

    Returns:
        (low, high) fractions; low is 0 where hits = 0, high is 1 where hits = guesses.
    """
    hits, guesses = np.asarray(hits, float), np.asarray(guesses, float)
    low = stats.beta.ppf(1 - _TAIL, hits, guesses - hits + 1)
    high = stats.beta.ppf(_TAIL, hits + 1, guesses - hits)
    known = np.isfinite(hits) & np.isfinite(guesses)
    low = np.where(known & (hits == 0), 0.0, low)
    return low, np.where(known & (hits == guesses), 1.0, high)


def slope_agrees(study: xr.Dataset) -> xr.DataArray:
    """Whether the interval of -d ln V/dn meets those of -ln Qr at the two ends of its step.

    Args:
        study: with ``log_volume_slope_mean`` and ``minus_log_accuracy_mean``, their intervals, and
            ``log_volume_slope_start``.

    Returns:
        (dataset, architecture, n): 1 or 0 at the upper end of a step; NaN where there is no step
        from another size, or no interval.
    """
    dims = ("dataset", "architecture", "n")
    start = study["log_volume_slope_start"].transpose(*dims)
    agrees = xr.full_like(start, np.nan)
    for cell in np.argwhere((start > 0).values):
        d, a, k = cell
        ends = study.isel(dataset=d, architecture=a).sel(
            n=[int(start[d, a, k]), int(study["n"][k])]
        )
        low = ends["minus_log_accuracy_mean_low"].min(skipna=False)
        high = ends["minus_log_accuracy_mean_high"].max(skipna=False)
        step = ends.isel(n=1)
        slope_low, slope_high = (step[f"log_volume_slope_mean_{end}"] for end in ("low", "high"))
        if np.isfinite(low + high + slope_low + slope_high):
            agrees[d, a, k] = float(slope_low <= high and slope_high >= low)
    return agrees


def log_volume_slope(
    log_volume: xr.DataArray, stderr: xr.DataArray, converged: xr.DataArray
) -> xr.Dataset:
    """-[ln V(n') - ln V(n)] / (n' - n) between successive sizes n < n', starting at ln V(0) = 0.

    With nested subsets it estimates the mean of -ln Pr[a random interpolator is right on the next
    example] over the examples from n to n', and is therefore to be compared with -ln Qr.

    Args:
        log_volume, stderr: nats; dimensions (dataset, architecture, n, replicate). A size that no
            replicate of a (dataset, architecture) has is passed over.
        converged: 1 or 0, same dimensions.

    Returns:
        Stored at the upper size n': ``slope``, ``stderr`` (nats for each example) and ``converged``
        (1 if both ends are), with the dimensions given, and ``start``, the lower size n, without
        ``replicate``.
    """
    dims = ("dataset", "architecture", "n", "replicate")
    log_v, error, good = (a.transpose(*dims).values for a in (log_volume, stderr, converged))
    sizes = log_volume["n"].values
    slope, slope_error, slope_good = (np.full(log_v.shape, np.nan) for _ in range(3))
    start = np.full(log_v.shape[:3], np.nan)
    for cell in np.ndindex(log_v.shape[:2]):
        before = 0, 0.0, 0.0, 1.0
        for k in np.flatnonzero(np.isfinite(log_v[cell]).any(axis=1)):
            at = (*cell, k)
            n, value, value_error, value_good = before
            before = sizes[k], log_v[at], error[at], good[at]
            slope[at] = (value - log_v[at]) / (sizes[k] - n)
            slope_error[at] = np.hypot(value_error, error[at]) / (sizes[k] - n)
            slope_good[at] = np.minimum(value_good, good[at])
            start[at] = n
    return xr.Dataset(
        {
            "slope": (dims, slope),
            "stderr": (dims, slope_error),
            "converged": (dims, slope_good),
            "start": (dims[:3], start),
        },
        log_volume.coords,
    )
