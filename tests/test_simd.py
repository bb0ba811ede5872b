"""Vectors compute what numpy computes, for every type."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from volumetry.kernels.jit import jit
from volumetry.kernels.simd import (
    LANES,
    any_set,
    convert,
    count_at_least,
    is_above,
    load,
    maximum,
    splat,
    store,
    where_equal,
)

TYPES = (np.int16, np.int32, np.int64)


@jit
def combine(out, a, b):
    """One operation a row of ``out``."""
    for e in range(0, a.shape[1], LANES):
        u, v = load(a, (1, e)), load(b, (0, e))
        store(out, (0, e), u + v)
        store(out, (1, e), u - v)
        store(out, (2, e), u * v)
        store(out, (3, e), u | v)
        store(out, (4, e), maximum(u, v))
        store(out, (5, e), where_equal(u, v, splat(a, -7), u))
        store(out, (6, e), is_above(u, v))


@jit
def widen(out, a):
    for e in range(0, out.shape[1], LANES):
        store(out, (0, e), convert(load(a, (1, e)), out))


@jit
def reduce(a, b):
    at_least, any_of_a = 0, 0
    for e in range(0, a.shape[1], LANES):
        at_least += count_at_least(load(a, (1, e)), load(b, (0, e)))
        any_of_a += any_set(load(a, (1, e)))
    return at_least, any_of_a


def numbers(dtype, rows, seed, spread):
    rng = np.random.default_rng(seed)
    return rng.integers(-spread, spread + 1, (rows, 8 * LANES)).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("spread", [3, 30_000])
def test_operations_equal_those_of_numpy(dtype, spread):
    a, b = numbers(dtype, 2, 0, spread), numbers(dtype, 1, 1, spread)
    out = np.zeros((7, a.shape[1]), dtype)
    combine(out, a, b)
    u, v = a[1], b[0]
    wanted = [u + v, u - v, u * v, u | v, np.maximum(u, v), np.where(u == v, dtype(-7), u), u > v]
    assert np.array_equal(out, wanted)


@pytest.mark.parametrize(("narrow", "wide"), list(combinations_with_replacement(TYPES, 2)))
def test_vectors_convert_to_the_wider_type(narrow, wide):
    a = numbers(narrow, 2, 2, 30_000)
    out = np.zeros((1, a.shape[1]), wide)
    widen(out, a)
    assert np.array_equal(out[0], a[1])


@pytest.mark.parametrize("dtype", TYPES)
def test_counts_over_vectors(dtype):
    a, b = numbers(dtype, 2, 3, 3), numbers(dtype, 1, 4, 3)
    a[1, LANES : 2 * LANES] = 0
    a[1, 2 * LANES : 3 * LANES - 1] = 0
    blocks = a[1].reshape(-1, LANES)
    assert reduce(a, b) == ((a[1] >= b[0]).sum(), blocks.any(axis=1).sum())
    assert not blocks.any(axis=1).all()
