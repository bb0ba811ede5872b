"""Weights in {-1, +1}: int8 arrays whose last axis is the weight."""

import numpy as np


def random_weights(n_weights: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform weights: int8, shape (n_weights,), each -1 or +1."""
    return (2 * rng.integers(0, 2, n_weights, dtype=np.int8) - 1).astype(np.int8)


def pack_weights(weights) -> np.ndarray:
    """One bit a weight, 1 for +1: ``np.packbits`` along the last axis of (..., n_weights)."""
    return np.packbits(np.asarray(weights) > 0, axis=-1)


def unpack_weights(bits: np.ndarray, n_weights: int) -> np.ndarray:
    """Weights, int8 (..., n_weights), from what ``pack_weights`` made of them."""
    return 2 * np.unpackbits(bits, axis=-1, count=n_weights).astype(np.int8) - 1
