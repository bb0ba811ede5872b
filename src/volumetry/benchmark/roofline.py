"""What a move must do by count, and how long the hardware needs for that at least.

A move is a few additions of whole rows: a row holds one number of every example. ``row_steps``
counts the rows that the engine reads and writes, from the layers' shapes alone, for each way in
which the flips can fall on the layers; ``expected_steps`` weighs them with their probabilities. At
the measured bandwidth of memory as large as what the rows lie in, the bytes make a least time:

    limit = sum over steps of  bytes(step) / bandwidth(size of the memory the step works in)

Flips of one layer are taken to fall on different units and channels, and every input of a touched
unit to change: both make the count a little larger than it is.
"""

from itertools import product
from math import comb, prod
from typing import NamedTuple

import numpy as np
import xarray as xr

from volumetry.benchmark.design import Design
from volumetry.benchmark.moves import EXAMPLES, FLIPS
from volumetry.benchmark.synthetic import make_network
from volumetry.engines.layout import CHUNK, GROUP, TILE, change_dtype, make_states
from volumetry.kernels.simd import LANES
from volumetry.networks import Network


class Step(NamedTuple):
    """One step of a move.

    Attributes:
        rows: rows read and written.
        adds: rows of additions (or comparisons).
        itemsize: bytes of a number.
        within: numbers of bytes of the memory the rows lie in.
    """

    rows: float
    adds: float
    itemsize: int
    within: float


class Cost(NamedTuple):
    """A move on all examples.

    Attributes:
        bytes: read and written.
        operations: additions and comparisons.
        seconds: the least time at the measured bandwidth.
    """

    bytes: float
    operations: float
    seconds: float


def kinds_of_move(network: Network) -> dict[tuple[int, ...], float]:
    """How the flips can fall on the layers (stages, then linear layers), and how probable it is."""
    sizes = [layer.n_weights for layer in network.layers_with_weights]
    every = comb(network.n_weights, FLIPS)
    return {
        flips: prod(comb(size, k) for size, k in zip(sizes, flips)) / every
        for flips in product(range(FLIPS + 1), repeat=len(sizes))
        if sum(flips) == FLIPS
    }


def row_steps(network: Network, n: int, flips: tuple[int, ...]) -> list[Step]:
    """The steps of a move on n examples whose flips fall on the layers as ``flips`` says."""
    state = make_states(network, 1, 1)
    m, s = state.maps.itemsize, state.sums.itemsize
    n_maps, n_sums = state.maps.shape[2], state.sums.shape[2]
    # A convolution goes through a tile row by row: what it uses again lies in rows of a tile.
    tile = min(n, TILE)
    maps, sums, logits = n_maps * n * m, n_sums * n * s, network.n_classes * n * s
    block = LANES / n  # of a row
    steps = []
    # Without flips in stages, and one hidden layer at most, hidden sums are moved in place, and
    # their changes are tabulated as they come, in a narrow type.
    direct = not any(flips[: len(network.stages)]) and len(network.linears) <= 2
    narrow = change_dtype(network, FLIPS).itemsize
    changed = 0  # inputs of the next layer that change
    n_stages = len(network.stages)
    started = False
    for position, (stage, k) in enumerate(zip(network.stages, flips)):
        c_in, height, width = stage.shape_in
        channels = stage.channels if started else min(k, stage.channels)
        started = started or k > 0
        if channels:
            # Every pixel adds its 3x3 neighbours of each channel, less those beyond the border: in
            # the first stage those of the rarer sign, to the sum of all, which is at hand. Pooling
            # keeps the larger of what is there and the new.
            taps = c_in * (3 * height - 2) * (3 * width - 2)
            if position == 0:
                taps = taps * _rarer(9 * c_in) / (9 * c_in) + height * width
            again = height * width - prod(stage.shape_out[1:])
            neighbours = 3 * width * c_in * tile * m
            rows = channels * (taps + again + height * width)
            steps.append(Step(rows, channels * taps, m, neighbours))
            changed = channels * prod(stage.shape_out[1:])
    for position, (layer, k) in enumerate(zip(network.linears, flips[n_stages:])):
        last = position == len(network.linears) - 1
        units = layer.outputs if changed else min(k, layer.outputs)
        size, place = (m, maps) if position == 0 and n_stages else (s, sums)
        own = logits if last else sums
        if k:  # the inputs of the flipped weights, and the sums: the other side of hidden ones
            steps.append(Step(k, 0, size, place))
            steps.append(Step(2 * k, 2 * k, s, own))
        if changed:
            # Three changes have eight signed sums; every unit adds one of them. The tables are made
            # for a block of examples at a time.
            groups = -(-changed // GROUP)
            if direct:
                size = narrow
            else:
                steps.append(Step(2 * changed, changed, size, place))  # old and new of each input
            table = 8 * min(groups, CHUNK) * block * n * size
            steps.append(Step(8 * groups, 8 * groups, size, table))
            steps.append(Step(units * groups, units * groups, size, table))
            passes = -(-groups // CHUNK)
            steps.append(Step(2 * units * passes, units * passes, s, own))
        elif last:
            steps.append(Step(layer.outputs, 0, s, logits))
        changed = units
    classes = network.n_classes
    # The largest logit is found as they are written; the own one is read again, with its label.
    steps.append(Step(2, classes + 2, s, logits))
    return steps


def _rarer(taps: int) -> float:
    """Mean number of weights of the rarer sign among ``taps`` random ones."""
    return sum(min(k, taps - k) * comb(taps, k) for k in range(taps + 1)) / 2**taps


def cost(steps: list[Step], n: int, bandwidth: xr.DataArray) -> Cost:
    """What steps cost on n examples.

    Args:
        bandwidth: bytes a second, over ``bandwidth_size``.
    """
    log_size = np.log(bandwidth["bandwidth_size"].values)
    total = sum(step.rows * step.itemsize * n for step in steps)
    seconds = sum(
        step.rows * step.itemsize * n / np.interp(np.log(step.within), log_size, bandwidth.values)
        for step in steps
    )
    return Cost(total, sum(step.adds for step in steps) * n, seconds)


def measure(design: Design, bandwidth: xr.DataArray) -> xr.Dataset:
    """Counts and least times over (architecture, n), and of them on the test set besides.

    Args:
        bandwidth: bytes a second, over (bandwidth_size, repetition).
    """
    bandwidth = bandwidth.median("repetition")
    shape = len(design.presets), len(design.n), len(EXAMPLES)
    values = {name: np.empty(shape) for name in ("bytes", "operations", "seconds")}
    typical_bytes, conv_share = np.empty(shape), np.empty(shape)
    conv_probability = np.empty(len(design.presets))
    for a, preset in enumerate(design.presets):
        network = make_network(preset, design.side)
        kinds = kinds_of_move(network)
        stages = len(network.stages)
        first = tuple(FLIPS if layer == stages else 0 for layer in range(len(next(iter(kinds)))))
        conv_probability[a] = sum(p for flips, p in kinds.items() if any(flips[:stages]))
        for i, n in enumerate(design.n):
            for e in range(len(EXAMPLES)):
                sets = (n, design.n_test)[: e + 1]

                def total(flips, network=network, sets=sets):
                    costs = [cost(row_steps(network, k, flips), k, bandwidth) for k in sets]
                    return np.sum(costs, axis=0)

                place = a, i, e
                table = np.array([p * total(flips) for flips, p in kinds.items()])
                for column, name in enumerate(values):
                    values[name][place] = table[:, column].sum()
                typical_bytes[place] = total(first)[0]
                conv = np.array([any(flips[:stages]) for flips in kinds])
                conv_share[place] = table[conv, 2].sum() / table[:, 2].sum()
    dims = "architecture", "n", "examples"
    return xr.Dataset(
        {
            "move_bytes": (
                dims,
                values["bytes"],
                {"long_name": "bytes that a move reads and writes, mean", "units": "byte"},
            ),
            "typical_move_bytes": (
                dims,
                typical_bytes,
                {"long_name": "the same of flips in the first linear layer", "units": "byte"},
            ),
            "move_operations": (
                dims,
                values["operations"],
                {"long_name": "additions and comparisons of a move, mean", "units": "1"},
            ),
            "move_limit_seconds": (
                dims,
                values["seconds"],
                {"long_name": "least time of a move at the measured bandwidth", "units": "s"},
            ),
            "convolution_share": (
                dims,
                conv_share,
                {"long_name": "part of that time for flips in convolutions", "units": "1"},
            ),
            "convolution_probability": (
                "architecture",
                conv_probability,
                {"long_name": "probability that a move flips a convolution", "units": "1"},
            ),
        }
    )
