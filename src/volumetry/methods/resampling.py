"""Resampling of populations: how far the ensemble may go at a time, and who is copied."""

import numpy as np


def longest_step(values: np.ndarray, overlap: float) -> float:
    """Step of a field after which weights exp(step * value) leave that effective share of members.

    Args:
        values: (P, members): what the field multiplies.
        overlap: mean over populations of (sum of weights)^2 / (members * sum of squares).

    Returns:
        At most 1.
    """

    def left(step):
        weight = np.exp(step * (values - values.max(axis=1, keepdims=True)))
        return (weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1) / values.shape[1]).mean()

    low, high = 0.0, 1.0
    if left(high) >= overlap:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) >= overlap else (low, middle)
    return high


def resample(log_w: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """ln of the mean weight of each population (P,), and a parent for each member (P, members).

    Systematic resampling: a member with r times the mean weight has floor(r) or ceil(r) copies.
    """
    groups, members = log_w.shape
    largest = log_w.max(axis=1)
    weight = np.exp(log_w - largest[:, None])
    log_mean = largest + np.log(weight.mean(axis=1))
    parents = np.empty((groups, members), np.int64)
    for p in range(groups):
        ends = np.cumsum(weight[p])
        points = (np.arange(members) + rng.random()) * ends[-1] / members
        parents[p] = p * members + np.searchsorted(ends, points, side="right").clip(max=members - 1)
    return log_mean, parents
