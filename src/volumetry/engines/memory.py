"""How much memory incremental evaluation takes, from shapes alone; imports no engine."""

import math
from functools import singledispatch

from volumetry.networks.architecture import Network
from volumetry.networks.real import RealNetwork


def walker_bytes(network: Network | RealNetwork, n: int, n_test: int = 0) -> int:
    """Bytes of one walker on n examples, and on test examples if moves evaluate these too."""
    states = state_bytes(network, n) + (state_bytes(network, n_test) if n_test else 0)
    return states + network.n_weights * network.space.dtype.itemsize


@singledispatch
def state_bytes(network: Network | RealNetwork, n: int) -> int:
    """Bytes of what incremental evaluation keeps of one walker on n examples."""
    pixels = sum(math.prod(stage.shape_out) for stage in network.stages)
    units = sum(layer.outputs for layer in network.linears)
    padded = 1.1 * n + 64
    return int(2 * padded * (network.map_bytes * pixels + network.sum_bytes * units))


@state_bytes.register
def _(network: RealNetwork, n: int) -> int:
    return 8 * (network.n_sums + network.n_values + network.spare) * n


def test_bytes(network: Network | RealNetwork, n_test: int) -> int:
    """Bytes of a look at the test examples between moves: of real weights, all are evaluated at a
    time; of binary ones few are, which takes next to nothing."""
    return state_bytes(network, n_test) if isinstance(network, RealNetwork) else 0
