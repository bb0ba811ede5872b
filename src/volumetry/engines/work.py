"""How much work a move is, from shapes alone: rough, and the same on every machine."""

from functools import singledispatch

from volumetry.networks.architecture import GROUP, Network
from volumetry.networks.real import RealNetwork

_UPDATE = 6
"""Work of changing one unit by one flip; that of an addition in a block of examples is 1."""

_TABLE = 8
"""Signed sums of a group of changes."""

_COUNTED = 2
"""Work of each class where logits are compared."""


@singledispatch
def move_work(network: Network | RealNetwork, layer: int, flips: int) -> float:
    """Additions, for each block of examples, of a move that changes weights of one layer.

    Args:
        layer: in the order of ``network.segments``.
        flips: weights that it changes.
    """
    stages, linears = network.stages, network.linears
    first = layer - len(stages)
    work, changed = 0.0, flips
    if first < 0:
        for s in range(layer, len(stages)):
            stage = stages[s]
            channels, height, width = stage.shape_in
            recomputed = min(flips, stage.channels) if s == layer else stage.channels
            # The rarer sign of a kernel's weights is added up.
            work += recomputed * 9 * channels / 2 * height * width
            changed = recomputed * stage.shape_out[1] * stage.shape_out[2]
        first = -1
    else:
        work += _UPDATE * flips
    for linear in linears[first + 1 :]:
        work += -(-changed // GROUP) * (_TABLE + linear.outputs)
        changed = linear.outputs
    return work + network.n_classes


@move_work.register
def _(network: RealNetwork, layer: int, flips: int) -> float:
    layers = network.layers_with_weights
    own = layers[layer]
    work = min(flips, own.fan_in) * own.positions + _COUNTED * network.n_classes
    for later in layers[layer + 1 : layer + 2]:
        # The weights that look at the unit: of a convolution, at every place of it.
        work += later.positions * later.inputs * later.outputs / own.outputs
    for later in layers[layer + 2 :]:
        work += later.positions * later.n_weights
    return float(work)
