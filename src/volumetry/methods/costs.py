"""What a job costs and what it cannot do, from its parameters alone.

It is known before the job starts, and without its module.
"""

import math
from collections.abc import Mapping

from volumetry.engines.memory import test_bytes, walker_bytes
from volumetry.errors import NetworkError
from volumetry.networks.architecture import Network

MOST_WAYS = 7
"""Of joint: anneals along different mixtures of A and the test score."""

_MB = 1_000_000
_THREADS = 4  # the most that the workflow gives a job
_TORCH, _NUMBA = 600 * _MB, 700 * _MB  # a process with its libraries, kernels being compiled


def kernel_bytes(network: Network, n: int, n_test: int, parameters: Mapping) -> int:
    """Of a job whose own arrays are small beside compiling its kernels."""
    return _NUMBA


def training_bytes(network: Network, n: int, n_test: int, parameters: Mapping) -> int:
    """Of networks trained side by side."""
    batch = min(n, parameters.get("batch_size", n))
    values = math.prod(network.input_shape) + sum(layer.outputs for layer in network.linears)
    for stage in network.stages:
        outputs, area = stage.shape_out[0], math.prod(stage.shape_in[1:])
        values += (stage.n_weights // outputs + outputs) * area
    return _TORCH + parameters["networks"] * (20 * network.n_weights + 8 * batch * values)


def chain_bytes(network: Network, n: int, n_test: int, parameters: Mapping) -> int:
    """Of walkers in windows over the number of correct training examples."""
    windows = most_windows(network, n, parameters["window_cost"])
    each = windows * walker_bytes(network, n) + test_bytes(network, n_test)
    return _NUMBA + parameters["walkers"] * each


def population_bytes(network: Network, n: int, n_test: int, parameters: Mapping) -> int:
    """Of populations, as large as they may grow, their weights packed, and of a walker for each
    thread."""
    members = _most_members(parameters)
    counted = 8 * (n + n_test)
    code = 4 * network.space.code_bytes
    tested = _THREADS * test_bytes(network, n_test)
    return _NUMBA + members * (code + counted) + 16 * walker_bytes(network, n) + tested


def tilted_population_bytes(network: Network, n: int, n_test: int, parameters: Mapping) -> int:
    """Of populations that are counted over A and bins of the test score, one way after another."""
    members = _most_members(parameters)
    levels = (n + 1) * min(parameters["bins"], n_test + 1)
    counted = 8 * levels * parameters["populations"] * (2 * MOST_WAYS * parameters["max_anneals"])
    walkers = 16 * walker_bytes(network, n, n_test)
    return _NUMBA + members * 4 * network.space.code_bytes + counted + walkers


def _most_members(parameters: Mapping) -> int:
    return parameters["populations"] * parameters["members"] * 2 ** parameters["doublings"]


def most_windows(network: Network, span: int, window_cost: float) -> int:
    """Windows that ``plan_windows`` makes at most, which is where labels are random.

    Args:
        span: values of the coordinate.
    """
    nats = span * math.log(network.n_classes)
    if network.space.log_total > 0:
        nats = min(nats, network.space.log_total)
    return max(1, math.ceil(3 * (span + nats) / window_cost) - 2)


def check_enumerable(network: Network, parameters: Mapping) -> None:
    """Refuse to enumerate a network with too many weights.

    Raises:
        NetworkError: more weights than ``max_weights``.
    """
    n_weights, max_weights = network.n_weights, parameters["max_weights"]
    if n_weights > max_weights:
        raise NetworkError(
            f"enumerate would visit all 2^{n_weights} weight settings, and max_weights = "
            f"{max_weights}: use fewer inputs or a smaller network, raise max_weights (each more "
            "doubles the time), or measure with rewl"
        )
