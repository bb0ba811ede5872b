"""From histograms of weighted windows to one density of states, and how far to trust it.

Logarithms of probabilities are natural; A is an integer, so the multi-histogram equations
(Ferrenberg & Swendsen 1989, doi:10.1103/PhysRevLett.63.1195) are exact, and equal to MBAR (Shirts
& Chodera 2008, doi:10.1063/1.2978177) with every sample in its own bin.
"""

import numpy as np
from scipy.special import chdtrc, logsumexp


def multi_histogram(
    counts: np.ndarray,
    log_weight: np.ndarray,
    free_energy: np.ndarray | None = None,
    tolerance: float = 1e-10,
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum-likelihood density of states given histograms of several weighted ensembles.

    Solves p(A) = sum_k C_k(A) / sum_k N_k w_k(A) exp(f_k) with exp(-f_k) = sum_A p(A) w_k(A) by
    Newton's method on the convex log-likelihood, or where that leads away by the plain iteration of
    the equations; f_0 = 0 is fixed: if ensemble 0 is the uniform measure, p is normalised to one.

    Args:
        counts: (ensembles, bins): effective numbers of samples; fractions allowed. Ensembles that
            share no populated bin leave the offset between their parts undetermined.
        log_weight: (ensembles, bins): ln w_k(A); -inf where an ensemble cannot be.
        free_energy: (ensembles,): where to start from, e.g. the solution for similar counts.
        tolerance: largest change of f_k, in nats, that counts as solved.

    Returns:
        ln p(A), shape (bins,), -inf where nothing was counted; and f_k, shape (ensembles,).

    Raises:
        ArithmeticError: the iteration does not settle.
    """
    populated = counts.sum(axis=0) > 0
    counts_b, log_w = counts[:, populated], log_weight[:, populated]
    log_total = np.log(counts_b.sum(axis=0))
    totals = counts_b.sum(axis=1)
    used = np.flatnonzero(totals > 0)
    log_w, totals = log_w[used], totals[used]
    f = np.zeros(len(used)) if free_energy is None else free_energy[used] - free_energy[used[0]]
    if free_energy is None:
        f = _joined_free_energies(counts_b[used], log_w)

    def expected(f):
        """Expected samples of each ensemble in each bin, and as fractions of the bin's samples."""
        log_terms = np.log(totals)[:, None] + log_w + f[:, None]
        fraction = np.exp(log_terms - log_terms.max(axis=0))
        fraction /= fraction.sum(axis=0)
        return fraction * np.exp(log_total), fraction

    share, fraction = expected(f)
    for _ in range(1000):
        gradient = share.sum(axis=1) - totals
        hessian = np.diag(share.sum(axis=1)) - share @ fraction.T
        newton = np.zeros_like(f)
        if len(f) > 1:
            newton[1:] = np.linalg.lstsq(hessian[1:, 1:], -gradient[1:], rcond=1e-12)[0]
        iterate = np.log(totals / np.maximum(share.sum(axis=1), 1e-300))
        # Far from the solution the plain iteration, which never overshoots, may be the better step.
        tried = [(f + step - step[0], step) for step in (newton, iterate)]
        tried = [(new, step, *expected(new)) for new, step in tried if np.abs(step).max() < 1e3]
        f, step, share, fraction = min(tried, key=lambda t: np.abs(t[2].sum(axis=1) - totals).max())
        if np.abs(step).max() < tolerance:
            break
    else:
        if np.abs(share.sum(axis=1) - totals).max() > 1e-3 * totals.sum():
            raise ArithmeticError("the multi-histogram equations did not settle")
    log_denominator = logsumexp(np.log(totals)[:, None] + log_w + f[:, None], axis=0)
    log_p = np.full(counts.shape[1], -np.inf)
    log_p[populated] = log_total - log_denominator
    all_f = np.full(len(counts), np.nan)
    all_f[used] = f
    return log_p, all_f


def _joined_free_energies(counts: np.ndarray, log_weight: np.ndarray) -> np.ndarray:
    """A first guess: from ensemble 0 on, join the one that shares most with those joined so far."""
    f = np.zeros(len(counts))
    log_p = np.full(counts.shape[1], -np.inf)
    share = counts / counts.sum(axis=1, keepdims=True)
    left = list(range(len(counts)))
    while left:
        joined = np.isfinite(log_p)
        k = max(left, key=lambda k: share[k][joined].sum())
        left.remove(k)
        seen = counts[k] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.log(share[k]) - log_weight[k]
        common = seen & joined
        if common.any():
            f[k] = np.average(own[common] - log_p[common], weights=counts[k][common])
        fresh = seen & ~joined
        log_p[fresh] = own[fresh] - f[k]
    return f


def statistical_inefficiency(traces: np.ndarray) -> float:
    """Samples per independent sample, 1 + 2 x (integrated autocorrelation), averaged over chains.

    The sum stops at the first non-positive pair of lags (Geyer 1992, doi:10.1214/ss/1177011137).

    Args:
        traces: (chains, samples); or (chains, samples, components) for a vector, whose
            autocorrelation is the sum of those of its components.

    Returns:
        From 1 to the length of a chain; the latter if none ever moves, for then each tells one
        thing, and with fewer than four samples.
    """
    chains, length = traces.shape[:2]
    x = (traces - traces.mean(axis=(0, 1))).reshape(chains, length, -1)
    variance = np.mean(x**2)
    if variance == 0 or length < 4:  # so few samples cannot tell
        return float(length)
    size = 1 << (2 * length - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(x, size, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum.sum(axis=(0, 2)), size)[:length]
    rho = covariance / (x.size / length * np.arange(length, 0, -1)) / variance
    pairs = rho[: length // 2 * 2].reshape(-1, 2).sum(axis=1)
    stop = np.flatnonzero(pairs <= 0)
    pairs = pairs[: stop[0]] if len(stop) else pairs
    return float(np.clip(2 * pairs.sum() - 1, 1.0, length))


def split_r_hat(traces: np.ndarray) -> float:
    """Potential scale reduction of halved chains (Gelman et al. 2013, BDA3, eq. 11.4).

    Args:
        traces: (chains, samples).

    Returns:
        1 for identical chains; NaN with fewer than four samples; inf if chains differ but do not
        move.
    """
    half = traces.shape[1] // 2
    if half < 2:
        return np.nan
    parts = np.concatenate([traces[:, :half], traces[:, -half:]]).astype(float)
    within = parts.var(axis=1, ddof=1).mean()
    between = parts.mean(axis=1).var(ddof=1)
    if within == 0:
        return 1.0 if between == 0 else np.inf
    return float(np.sqrt((half - 1) / half + between / within))


def jackknife_stderr(replicates: np.ndarray) -> np.ndarray:
    """Standard error from delete-one estimates (Efron & Stein 1981): axis 0 counts the groups."""
    groups = len(replicates)
    spread = replicates - replicates.mean(axis=0)
    return np.sqrt((groups - 1) / groups * (spread**2).sum(axis=0))


def histograms_agree(counts: np.ndarray, log_weight: np.ndarray) -> float:
    """Chi-squared test that ln(counts / weight) of two ensembles differ by a constant only.

    Args:
        counts: (2, levels), effective samples.
        log_weight: (2, levels).

    Returns:
        The probability of a larger chi-squared; 0 if no level has samples in both.
    """
    common = (counts > 0).all(axis=0)
    if not common.any():
        return 0.0
    difference = np.diff(np.log(counts[:, common]) - log_weight[:, common], axis=0)[0]
    precision = 1 / (1 / counts[:, common]).sum(axis=0)
    spread = difference - np.average(difference, weights=precision)
    freedom = common.sum() - 1
    return float(chdtrc(freedom, (precision * spread**2).sum())) if freedom else 1.0
