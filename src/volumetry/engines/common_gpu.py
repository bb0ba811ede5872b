"""What parts of an evaluation on a GPU share: locate flips, and count what is right."""

import triton
import triton.language as tl

from volumetry.engines.layout_gpu import last_layer, linear, power_of_2, stage

CONVOLUTION = tl.constexpr(-2)
"""The first layer with a flipped weight, if that is a convolution."""


@triton.jit
def first_layer(flips, NET: tl.constexpr, M: tl.constexpr):
    """The first linear layer with a flipped weight; ``CONVOLUTION`` if a stage has one."""
    lowest = flips[0]
    for t in tl.static_range(1, M):
        lowest = tl.minimum(lowest, flips[t])
    first = tl.full((), CONVOLUTION, tl.int32)
    for layer in tl.static_range(last_layer(NET) + 1):
        first = tl.where(lowest >= linear(NET, layer, "first_weight"), layer, first)
    return first


@triton.jit
def locate(layer: tl.constexpr, flip, NET: tl.constexpr):
    """Whether a flip is in a linear layer; its input and its unit there, or 0."""
    index = flip - linear(NET, layer, "first_weight")
    here = (index >= 0) & (index < linear(NET, layer, "inputs") * linear(NET, layer, "outputs"))
    index = tl.where(here, index, 0)
    return here, index // linear(NET, layer, "outputs"), index % linear(NET, layer, "outputs")


@triton.jit
def unit_is_hit(layer: tl.constexpr, unit, flips, NET: tl.constexpr, M: tl.constexpr):
    """Whether a weight of a unit, or of each of several, is flipped."""
    hit = unit < 0
    for t in tl.static_range(M):
        here, _, u = locate(layer, flips[t], NET)
        hit |= here & (unit == u)
    return hit


@triton.jit
def units_hit(layer: tl.constexpr, flips, NET: tl.constexpr, M: tl.constexpr):
    """The unit that each flip hits in a layer, and whether it hits any: (M or more)."""
    slot = tl.arange(0, power_of_2(M))
    unit, hits = slot * 0, slot < 0
    for t in tl.static_range(M):
        here, _, u = locate(layer, flips[t], NET)
        unit = tl.where(slot == t, u, unit)
        hits |= (slot == t) & here
    return unit, hits


@triton.jit
def channel_changes(s: tl.constexpr, channel, flips, NET: tl.constexpr, M: tl.constexpr):
    """Whether a channel of stage ``s`` has to be recomputed, or each of several."""
    SIZE: tl.constexpr = 9 * stage(NET, s, "c_in")
    changes = channel < 0
    for t in tl.static_range(M):
        index = flips[t] - stage(NET, s, "first_weight")
        changes |= (index < 0) | (index >= channel * SIZE) & (index < channel * SIZE + SIZE)
    return changes


@triton.jit
def weight_of(weights, index, inside, flips, M: tl.constexpr):
    """Weights as the move would leave them."""
    weight = tl.load(weights + index, inside, 0).to(tl.int32)
    for t in tl.static_range(M):
        weight = tl.where(index == flips[t], -weight, weight)
    return weight


@triton.jit
def count_correct(total, unit, label, CLASSES: tl.constexpr):
    """Correct examples of a block: those whose own logit is the largest."""
    own = tl.sum(tl.where(unit[:, None] == label[None, :], total, 0), axis=0)
    lowest: tl.constexpr = -(2 ** (total.dtype.primitive_bitwidth - 1))
    best = tl.max(tl.where(unit[:, None] < CLASSES, total, lowest), axis=0)
    return tl.sum(((own >= best) & (label >= 0)).to(tl.int32), axis=0)
