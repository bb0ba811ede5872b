"""Addition modulo p: the input is a pair of one-hot numbers, the label their sum modulo p.

All p * p pairs exist; the pool is a random class-balanced part of them, the test set the rest
(the task of Power et al. 2022, arXiv 2201.02177).
"""

from dataclasses import dataclass

import numpy as np

from volumetry.datasets.dataset import Arrays, Description
from volumetry.errors import DataError
from volumetry.parameters import chosen, parameter


@dataclass(frozen=True)
class Options:
    """Of an entry of ``datasets`` in a configuration."""

    p: int = parameter(13, minimum=2, maximum=300, about="The modulus, and the number of classes.")
    pool_fraction: float = parameter(
        0.7,
        above=0,
        below=1,
        unit="fraction",
        about="Fraction of the pairs in the pool; the rest are the test set.",
    )
    seed: int = parameter(0, minimum=0, about="Seed of the choice of the pool.")


def describe(spec: dict, data_dir: str | None) -> Description:
    options = chosen(Options, spec)
    p, pool = options.p, _pool_per_class(options)
    counts = (dict.fromkeys(range(p), count) for count in (pool, p - pool))
    return Description((2 * p,), 1, *counts)


def load(spec: dict, data_dir: str | None) -> Arrays:
    options = chosen(Options, spec)
    p = options.p
    rng = np.random.default_rng(options.seed)
    y, first = (axis.ravel() for axis in np.indices((p, p)))
    one_hot = np.eye(p, dtype=np.int8)
    x = np.concatenate([one_hot[first], one_hot[(y - first) % p]], axis=1)
    pairs = np.zeros((p, p), bool)  # of each class, those in the pool
    pairs[:, : _pool_per_class(options)] = True
    in_pool = rng.permuted(pairs, axis=1).ravel()
    return Arrays(x[in_pool], y[in_pool], x[~in_pool], y[~in_pool])


def _pool_per_class(options: Options) -> int:
    pool = round(options.pool_fraction * options.p)
    if not 0 < pool < options.p:
        raise DataError(
            f"modular_addition: pool_fraction = {options.pool_fraction} of the {options.p} pairs "
            "of a class leaves none for the pool or none for the test; choose it nearer 0.5"
        )
    return pool
