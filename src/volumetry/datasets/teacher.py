"""Labels from a random binary network on random inputs of -1 and +1: a task that can be learned.

Pool and test set are class-balanced, so that a next training example is distributed as a test
example is.
"""

from dataclasses import dataclass

import numpy as np

from volumetry.datasets.dataset import Arrays, Description
from volumetry.errors import DataError, NetworkError
from volumetry.networks.architecture import build_network
from volumetry.networks.forward import predict
from volumetry.parameters import chosen, parameter
from volumetry.weights.binary import BinaryWeights

_BATCH = 10_000
_MOST_BATCHES = 100


@dataclass(frozen=True)
class Options:
    """Of an entry of ``datasets`` in a configuration."""

    features: int = parameter(
        64, minimum=1, maximum=10_000, unit="inputs", about="Inputs of -1 and +1."
    )
    n_classes: int = parameter(
        2, minimum=2, maximum=1000, unit="classes", about="Classes of the teacher network."
    )
    layers: list[str] | str = parameter(
        [],
        entry=parameter(about="A layer such as 'linear 64'."),
        about="Layers of the teacher network; an empty list is a perceptron.",
    )
    pool_size: int = parameter(
        1000,
        minimum=1,
        maximum=1_000_000,
        unit="examples",
        about="Examples to draw training sets from, a multiple of n_classes.",
    )
    test_size: int = parameter(
        1000,
        minimum=1,
        maximum=1_000_000,
        unit="examples",
        about="Test examples, a multiple of n_classes.",
    )
    seed: int = parameter(0, minimum=0, about="Seed of the teacher network and of the inputs.")


def describe(spec: dict, data_dir: str | None) -> Description:
    options = chosen(Options, spec)
    network = _network(options)
    sizes = (options.pool_size, options.test_size)
    pool, test = (
        dict.fromkeys(range(network.n_classes), _per_class(options, size)) for size in sizes
    )
    return Description(network.input_shape, 1, pool, test)


def load(spec: dict, data_dir: str | None) -> Arrays:
    options = chosen(Options, spec)
    network = _network(options)
    rng = np.random.default_rng(options.seed)
    weights = BinaryWeights(network.n_weights).draw(rng)
    wanted = _per_class(options, options.pool_size), _per_class(options, options.test_size)
    found = [np.empty((0, options.features), np.int8) for _ in range(network.n_classes)]
    for _ in range(_MOST_BATCHES):
        x = 2 * rng.integers(0, 2, (_BATCH, options.features), dtype=np.int8) - 1
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


def _network(options: Options):
    try:
        return build_network(options.layers, (options.features,), options.n_classes, 1)
    except NetworkError as error:
        raise DataError(f"teacher network: {error}") from None


def _per_class(options: Options, size: int) -> int:
    if size % options.n_classes:
        raise DataError(
            f"teacher: {size} examples cannot be shared equally by {options.n_classes} classes; "
            "choose multiples of n_classes for pool_size and test_size"
        )
    return size // options.n_classes
