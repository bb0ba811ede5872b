"""Labels from a random binary network on random inputs of -1 and +1: a task that can be learned.

Pool and test set are class-balanced, so that a next training example is distributed as a test
example is.
"""

import numpy as np

from volumetry.datasets.dataset import Arrays, Description
from volumetry.errors import DataError, NetworkError
from volumetry.networks.architecture import build_network
from volumetry.networks.forward import predict
from volumetry.weights.binary import BinaryWeights

DEFAULTS = {
    "features": 64,
    "n_classes": 2,
    "layers": [],
    "pool_size": 1000,
    "test_size": 1000,
    "seed": 0,
}
_BATCH = 10_000
_MOST_BATCHES = 100


def describe(spec: dict, data_dir: str | None) -> Description:
    spec = DEFAULTS | spec
    network = _network(spec)
    sizes = (spec["pool_size"], spec["test_size"])
    pool, test = (dict.fromkeys(range(network.n_classes), _per_class(spec, size)) for size in sizes)
    return Description(network.input_shape, 1, pool, test)


def load(spec: dict, data_dir: str | None) -> Arrays:
    spec = DEFAULTS | spec
    network = _network(spec)
    rng = np.random.default_rng(spec["seed"])
    weights = BinaryWeights(network.n_weights).draw(rng)
    wanted = _per_class(spec, spec["pool_size"]), _per_class(spec, spec["test_size"])
    found = [np.empty((0, spec["features"]), np.int8) for _ in range(network.n_classes)]
    for _ in range(_MOST_BATCHES):
        x = 2 * rng.integers(0, 2, (_BATCH, spec["features"]), dtype=np.int8) - 1
        y = predict(network, weights, x)
        found = [np.concatenate([known, x[y == label]]) for label, known in enumerate(found)]
        found = [known[: sum(wanted)] for known in found]
        if min(map(len, found)) == sum(wanted):
            break
    else:
        rarest = int(np.argmin([len(known) for known in found]))
        raise DataError(
            f"teacher: its network gives class {rarest} to {len(found[rarest])} of "
            f"{_BATCH * _MOST_BATCHES} inputs, {sum(wanted)} are needed; choose another seed, "
            "fewer classes or smaller sizes"
        )
    x_pool = np.concatenate([known[: wanted[0]] for known in found])
    x_test = np.concatenate([known[wanted[0] :] for known in found])
    labels = np.arange(network.n_classes)
    return Arrays(x_pool, np.repeat(labels, wanted[0]), x_test, np.repeat(labels, wanted[1]))


def _network(spec: dict):
    try:
        return build_network(spec["layers"], (spec["features"],), spec["n_classes"], 1)
    except NetworkError as error:
        raise DataError(f"teacher network: {error}") from None


def _per_class(spec: dict, size: int) -> int:
    if size % spec["n_classes"]:
        raise DataError(
            f"teacher: {size} examples cannot be shared equally by {spec['n_classes']} classes; "
            "choose multiples of n_classes for pool_size and test_size"
        )
    return size // spec["n_classes"]
