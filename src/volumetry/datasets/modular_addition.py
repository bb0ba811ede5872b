"""Addition modulo p: the input is a pair of one-hot numbers, the label their sum modulo p.

All p * p pairs exist; the pool is a random class-balanced part of them, the test set the rest
(the task of Power et al. 2022, arXiv 2201.02177).
"""

import numpy as np

from volumetry.datasets.dataset import Arrays, Description
from volumetry.errors import DataError

DEFAULTS = {"p": 13, "pool_fraction": 0.7, "seed": 0}


def describe(spec: dict, data_dir: str | None) -> Description:
    spec = DEFAULTS | spec
    p, pool = spec["p"], _pool_per_class(spec)
    counts = (dict.fromkeys(range(p), count) for count in (pool, p - pool))
    return Description((2 * p,), 1, *counts)


def load(spec: dict, data_dir: str | None) -> Arrays:
    spec = DEFAULTS | spec
    p = spec["p"]
    rng = np.random.default_rng(spec["seed"])
    y, first = (axis.ravel() for axis in np.indices((p, p)))
    one_hot = np.eye(p, dtype=np.int8)
    x = np.concatenate([one_hot[first], one_hot[(y - first) % p]], axis=1)
    in_pool = np.zeros((p, p), bool)
    in_pool[:, : _pool_per_class(spec)] = True
    in_pool = rng.permuted(in_pool, axis=1).ravel()
    return Arrays(x[in_pool], y[in_pool], x[~in_pool], y[~in_pool])


def _pool_per_class(spec: dict) -> int:
    pool = round(spec["pool_fraction"] * spec["p"])
    if not 0 < pool < spec["p"]:
        raise DataError(
            f"modular_addition: pool_fraction = {spec['pool_fraction']} of the {spec['p']} pairs "
            "of a class leaves none for the pool or none for the test; choose it nearer 0.5"
        )
    return pool
