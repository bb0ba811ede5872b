"""Matrix sensing for kernels: what the product of a network's layers measures, and in which
bin of a loss that is.

A network that sees the unit vectors puts out its product matrix, a column for each; everything up
to there is ``engines.real``.
"""

from typing import NamedTuple

import numpy as np

from volumetry.engines.real import judge, laid_out
from volumetry.kernels.jit import borrowed
from volumetry.networks.real import RealNetwork


class SensingPlan(NamedTuple):
    """The fixed part of an evaluation: a network and a set of K measurements.

    Attributes:
        layers, x, activation, scale, uniform: as in ``RealPlan``; the examples are unit vectors.
        matrices: float64 (K, rows, columns): what the product is measured with.
        values: float64 (K,): what the truth gives.
        edges: float64 (bins,), descending: the bin of a loss is how many of them it is below.
        norm: Frobenius norm that the product is scaled to; 0 for none.
    """

    layers: np.ndarray
    x: np.ndarray
    activation: int
    scale: np.ndarray
    uniform: bool
    matrices: np.ndarray
    values: np.ndarray
    edges: np.ndarray
    norm: float


def make_sensing_plan(
    network: RealNetwork, matrices: np.ndarray, values: np.ndarray, edges: np.ndarray, norm: float
) -> SensingPlan:
    """Lay out measurements; arguments as the attributes of the plan."""
    laid = laid_out(network, np.eye(network.linears[0].inputs))
    matrices = np.ascontiguousarray(matrices, np.float64)
    return SensingPlan(matrices=matrices, values=values, edges=edges, norm=norm, **laid)


@judge.of(SensingPlan)
def _bin_of_loss(plan, state):
    own = plan.layers[plan.layers.size - 1]
    product = borrowed(state.sums)
    factor = 1.0
    if plan.norm > 0:
        square = 0.0
        for i in range(own.outputs):
            for j in range(plan.x.shape[1]):
                square += product[own.first_sum + i, j] ** 2
        factor = plan.norm / np.sqrt(square) if square > 0 else 0.0
    loss = 0.0
    for k in range(plan.values.size):
        total = 0.0
        for i in range(own.outputs):
            for j in range(plan.x.shape[1]):
                total += plan.matrices[k, i, j] * product[own.first_sum + i, j]
        loss += (factor * total - plan.values[k]) ** 2
    loss /= plan.values.size
    low, high = 0, plan.edges.size
    while low < high:
        middle = (low + high) // 2
        if loss < plan.edges[middle]:
            low = middle + 1
        else:
            high = middle
    return low
