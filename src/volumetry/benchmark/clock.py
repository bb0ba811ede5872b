"""Timing: units of work a second, warmed up and repeated."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from time import perf_counter

import numpy as np


def rates(works: Sequence[Callable[[int], object]], seconds: float, repetitions: int) -> np.ndarray:
    """How fast several pieces of work go, timed in turn: what disturbs one disturbs its neighbours.

    Args:
        works: each ``work(count)`` does ``count`` units.
        seconds: least duration of a repetition, about; one unit is the least there is.
        repetitions: how many are timed, after a warm-up that also finds how many units they need.

    Returns:
        Units a second, float64, shape (works, repetitions).
    """
    counts = [_count(work, seconds) for work in works]
    turns = [
        [count / _timed(work, count) for work, count in zip(works, counts)]
        for _ in range(repetitions)
    ]
    return np.transpose(turns)


def _count(work: Callable[[int], object], seconds: float) -> int:
    """How many units take about ``seconds``, once compiled, allocated and in the cache."""
    work(1)
    count, took = 1, _timed(work, 1)
    while took < seconds / 4:
        count = max(2 * count, int(count * seconds / 2 / max(took, 1e-6)))
        took = _timed(work, count)
    return max(1, round(count * seconds / took))


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
