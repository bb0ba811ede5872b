"""Timing: units of work a second, warmed up and repeated."""

from collections.abc import Callable, Hashable, Mapping
from time import perf_counter

import numpy as np


def rates(work: Callable[[int], object], seconds: float, repetitions: int) -> np.ndarray:
    """How fast ``work`` goes.

    Args:
        work: ``work(count)`` does ``count`` units.
        seconds: least duration of a repetition, about; one unit is the least there is.
        repetitions: how many are timed, after a warm-up that also finds how many units they need.

    Returns:
        Units a second, float64, shape (repetitions,).
    """
    work(1)  # compiles, allocates, fills caches
    count, took = 1, _timed(work, 1)
    if took > seconds:
        return np.array([1 / took] + [1 / _timed(work, 1) for _ in range(repetitions - 1)])
    while took < seconds / 4:
        count = max(2 * count, int(count * seconds / 2 / max(took, 1e-6)))
        took = _timed(work, count)
    count = max(1, round(count * seconds / took))
    return np.array([count / _timed(work, count) for _ in range(repetitions)])


def fastest(options: Mapping[Hashable, Callable[[], object]]) -> Hashable:
    """The key of the option that takes the least time, the better of two calls after a warm-up."""
    took = {}
    for key, call in options.items():
        call()
        took[key] = min(_timed(lambda _, call=call: call(), 1) for _ in range(2))
    return min(took, key=took.get)


def _timed(work: Callable[[int], object], count: int) -> float:
    start = perf_counter()
    work(count)
    return perf_counter() - start
