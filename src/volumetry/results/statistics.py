"""The formulas behind the error bars of a study. Every interval covers 95 %.

Arrays are xarray DataArrays; ``replicate`` is the dimension of independent repetitions.
"""

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import expit, logit

from volumetry.estimate.confidence import CONFIDENCE, TAIL


def replicate_interval(values: xr.DataArray, stderr: xr.DataArray, df: xr.DataArray) -> xr.Dataset:
    """Mean over replicates with its interval; NaN entries do not take part.

    With K >= 2 entries: mean +- t(K - 1) s / sqrt(K), Student's t and s the sample standard
    deviation (K - 1 in the denominator); it contains the spread over training subsets and the
    noise of the runs. With K = 1 the spread is unknown: value +- t(df) stderr, which covers the
    noise of that one run alone.

    Args:
        values: one entry for each replicate.
        stderr, df: standard error of each entry and its degrees of freedom; used only where K = 1.

    Returns:
        ``mean``, ``low``, ``high`` (units of ``values``) and ``replicates`` (K, a count), without
        the dimension ``replicate``.
    """
    count = values.count("replicate")
    mean = values.mean("replicate")
    spread = np.sqrt(((values - mean) ** 2).sum("replicate") / (count - 1).where(count > 1))
    own, own_df = (each.where(values.notnull()).mean("replicate") for each in (stderr, df))
    error = xr.where(count > 1, spread / np.sqrt(count), own)
    freedom = xr.where(count > 1, count - 1, own_df)
    half = (stats.t.ppf(TAIL, freedom) * error).where(count > 0)
    return xr.Dataset(
        {"mean": mean, "low": mean - half, "high": mean + half, "replicates": count.astype(float)}
    )


def within(interval: xr.Dataset, low: float, high: float) -> xr.Dataset:
    """An interval that does not leave the range of what it is about.

    With u the place of the mean in that range, from 0 to 1, its half-width becomes one of logit u,
    whose derivative is 1 / (u (1 - u)): nearly the same in the middle, lopsided near an end. A mean
    at an end has no logit; its interval is cut off there.

    A range with one end alone cuts it off there, too.

    Args:
        interval: as ``replicate_interval`` returns it.
        low, high: the range, in the units of the values.
    """
    if np.isinf(high - low):
        return interval.assign({end: interval[end].clip(low, high) for end in ("low", "high")})
    mean, half = interval["mean"], interval["high"] - interval["mean"]
    place = (mean - low) / (high - low)
    inside = (place > 0) & (place < 1)
    place = place.where(inside, 0.5)
    spread = half / (high - low) / (place * (1 - place))
    ends = {
        end: low + (high - low) * expit(logit(place) + sign * spread)
        for end, sign in (("low", -1), ("high", 1))
    }
    return interval.assign(
        {end: value.where(inside, interval[end].clip(low, high)) for end, value in ends.items()}
    )


def trend(
    values: xr.DataArray, stderr: xr.DataArray, df: xr.DataArray, converged: xr.DataArray
) -> xr.Dataset:
    """Slope of values against ln n by least squares, one for each replicate, over all its sizes.

    Args:
        values: dimensions with ``n`` and ``replicate``; NaN at sizes that do not take part.
        stderr, df: the error of each and its degrees of freedom; those of a slope are Welch's.
        converged: 1 or 0, same dimensions.

    Returns:
        Without ``n``: ``slope`` (units of ``values`` for each factor e in n; NaN with fewer than
        two sizes), ``stderr``, ``df``, ``converged`` (1 if all that take part are); without
        ``replicate``, too: ``first`` and ``last``, the smallest and the largest size.
    """
    there = values.notnull()
    there &= there.sum("n") > 1
    place = values["n"].copy(data=np.log(values["n"].values)).where(there)
    place -= place.mean("n")
    share = place / (place**2).sum("n")
    known = there.any("n")
    variance = ((share * stderr) ** 2).where(there)
    unknown = (there & stderr.isnull()).any("n")
    total = variance.sum("n").where(known & ~unknown)
    uncertain = (variance**2 / df).sum("n").where(known & ~unknown)
    sizes = values["n"].where(there.any("replicate"))
    return xr.Dataset(
        {
            "slope": (share * values).sum("n").where(known),
            "stderr": np.sqrt(total),
            "df": (total**2 / uncertain.where(uncertain > 0)).where(uncertain != 0, np.inf),
            "converged": converged.where(there).min("n"),
            "first": sizes.min("n"),
            "last": sizes.max("n"),
        }
    )


def log_error(accuracy, stderr, tests):
    """ln of the fraction that is wrong, of ``tests`` examples, and its standard error.

    A network that is right on all of them has an error below 1 / N, not none: half an example is
    added to both sides, ln[(N (1 - Q) + 1/2) / (N + 1)], whatever Q.
    """
    error = (tests * (1 - accuracy) + 0.5) / (tests + 1)
    return np.log(error), stderr * tests / (tests + 1) / error


def difference(a, b, stderr_a, stderr_b, df_a, df_b):
    """a - b of independent a and b, its standard error sqrt(stderr_a^2 + stderr_b^2), and the
    degrees of freedom of that (Welch 1947, doi:10.1093/biomet/34.1-2.28)."""
    variance_a, variance_b = stderr_a**2, stderr_b**2
    uncertain = variance_a**2 / df_a + variance_b**2 / df_b
    known = uncertain == 0  # errors that are known by theory, or none
    df = (variance_a + variance_b) ** 2 / xr.where(known, 1.0, uncertain)
    return a - b, np.hypot(stderr_a, stderr_b), xr.where(known, np.inf, df)


def normal_score(difference, stderr, df):
    """The standard normal deviate that is as rare as difference / stderr with these degrees of
    freedom: what a z-score is where the error is not known, but estimated."""
    z = difference / stderr
    rare = stats.t.sf(np.abs(z), df)
    # What is rarer than numbers can tell stays as it is.
    score = np.where(rare > 0, stats.norm.isf(np.where(rare > 0, rare, 0.5)), np.abs(z))
    return z.copy(data=np.sign(z) * score)


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


def step_start(log_volume: xr.DataArray) -> xr.DataArray:
    """The next smaller size that any replicate has, at each size: 0 at the first, NaN at no size.

    Args:
        log_volume: dimensions with ``n``, ascending, and ``replicate``.

    Returns:
        Without ``replicate``.
    """
    there = log_volume.notnull().any("replicate")
    sizes = there["n"].where(there, 0).transpose(*there.dims)
    reached = sizes.copy(data=np.maximum.accumulate(sizes.values, there.dims.index("n")))
    return reached.shift(n=1, fill_value=0).where(there)


def at_start(values: xr.DataArray, start: xr.DataArray, at_zero: float = np.nan) -> xr.DataArray:
    """What stands at the lower end of each step, at its upper end; ``at_zero`` where that is 0."""
    sizes = values["n"].values
    place = start.copy(data=np.searchsorted(sizes, start.where(start > 0, sizes[0])))
    place = place.broadcast_like(values).transpose(*values.dims)
    taken = np.take_along_axis(values.values, place.values, values.dims.index("n"))
    found = values.copy(data=taken).where(start > 0, at_zero)
    return found.where(start.notnull()).transpose(*values.dims)


def log_volume_slope(
    log_volume: xr.DataArray, stderr: xr.DataArray, df: xr.DataArray, converged: xr.DataArray
) -> xr.Dataset:
    """-[ln V(n') - ln V(n)] / (n' - n) between successive sizes n < n', starting at ln V(0) = 0.

    With nested subsets it estimates the mean of -ln Pr[a random interpolator is right on the next
    example] over the examples from n to n', and is therefore to be compared with -ln Qr.

    Args:
        log_volume, stderr: nats; dimensions (dataset, architecture, n, replicate). A size that no
            replicate of a (dataset, architecture) has is passed over.
        df: degrees of freedom of the errors, same dimensions.
        converged: 1 or 0, same dimensions.

    Returns:
        Stored at the upper size n': ``slope``, ``stderr`` (nats for each example), ``df`` and
        ``converged`` (1 if both ends are), with the dimensions given, and ``start``, the lower size
        n, without ``replicate``.
    """
    start = step_start(log_volume)
    before = at_start(log_volume, start, 0.0)
    fall, error, freedom = difference(
        before, log_volume, at_start(stderr, start, 0.0), stderr, at_start(df, start, np.inf), df
    )
    examples = start["n"] - start
    return xr.Dataset(
        {
            "slope": fall / examples,
            "stderr": error / examples,
            "df": freedom.where(fall.notnull()),
            "converged": np.minimum(at_start(converged, start, 1.0), converged),
            "start": start,
        }
    )
