"""The chains of a GPU are those of the CPU: equality of every number.

Without a GPU the kernels run in Triton's interpreter, so the problems are tiny; and they are
compiled for one all the same.
"""

import os

import numpy as np
import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    # Looked at when kernels are defined; not for the processes that other tests start.
    os.environ["TRITON_INTERPRET"] = "1"
from volumetry.samplers.chains_gpu import Chains

os.environ.pop("TRITON_INTERPRET", None)

from volumetry.networks import build_network
from volumetry.networks.engine import make_plan
from volumetry.networks.forward import count_correct, random_weights
from volumetry.samplers.chains import (
    Levels,
    Windows,
    draw_uniform,
    make_memory,
    make_tally,
    make_walkers,
    run_rounds,
    start,
)

NETWORKS = {  # layers, input shape, classes, largest |input|
    "perceptron": ((), (7,), 3, 15),
    "two hidden layers": (("linear 5", "linear 4"), (6,), 3, 15),
    "small cnn": (("conv 2", "pool", "linear 3"), (1, 4, 4), 2, 15),
    "two stages": (("conv 2", "pool", "conv 3", "linear 4"), (2, 5, 4), 3, 15),
    "wide types": (("conv 2", "linear 3"), (1, 3, 3), 3, 10**6),
}
N, N_TEST, SETS = 45, 70, 2
SEED = np.uint64(2**63 + 11)


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")


class Case:
    """A random problem, with its walker sets on both devices."""

    def __init__(self, name, windows, levels=None, flips=3, block=32):
        rng = np.random.default_rng(3)
        layers, shape, classes, bound = NETWORKS[name]
        self.network = build_network(layers, shape, classes, bound)
        x = rng.integers(-bound, bound + 1, (N + N_TEST, *shape))
        y = rng.integers(0, classes, N + N_TEST)
        parts = (x[:N], y[:N]), (x[N:], y[N:])
        self.levels = levels or Levels(0, 1, 1)
        plans = [make_plan(self.network, *part) for part in parts]
        bins = self.levels.bins
        self.memory = [
            make_memory(self.network, *plans, len(windows.low), flips, bins) for _ in range(SETS)
        ]
        self.sides = []
        weights = [[random_weights(self.network, rng) for _ in windows.low] for _ in range(SETS)]
        for _ in range(2):
            sets = [make_walkers(self.network, len(windows.low)) for _ in range(SETS)]
            for walkers, rows in zip(sets, weights):
                walkers.weights[:] = rows
                walkers.step[:] = 2**33
            self.sides.append((sets, [Windows(*(a.copy() for a in windows)) for _ in sets]))
        self.chains = Chains(self.network, *parts, flips, self.levels, DEVICE, block=block)

    def start(self):
        for memory, walkers in zip(self.memory, self.sides[0][0]):
            start(memory, walkers, self.levels)
        self.chains.start(self.sides[1][0])
        self.check()

    def run(self, rounds, moves, test_low=10**6, test_every=0):
        moves = np.array(moves)
        count, size = self.sides[0][1][0].log_weight.shape
        tallies = [[make_tally(count, size, N_TEST, rounds) for _ in range(SETS)] for _ in "ab"]
        sets, windows = self.sides[0]
        rest = moves, test_low, test_every
        for r in range(SETS):
            run_rounds(
                self.memory[r], sets[r], windows[r], tallies[0][r], self.levels, SEED, r, *rest
            )
        self.chains.run_rounds(*self.sides[1], tallies[1], int(SEED), *rest)
        self.check()
        for one, other in zip(*tallies):
            for name, a, b in zip(one._fields, one, other):
                assert np.array_equal(a, b), name
        return tallies[0]

    def check(self):
        for records in zip(*self.sides):
            for one, other in zip(*records):
                for name, a, b in zip(one._fields, one, other):
                    assert np.array_equal(a, b), name
        self.check_values()

    def check_values(self):
        """Current values of all replicas, whatever their sides."""
        count = len(self.sides[0][0][0].level)
        for r, memory in enumerate(self.memory):
            for replica in range(count):
                ours = [a[r * count + replica].cpu().numpy() for a in self.chains._values[:4]]
                state = [a[replica] for a in memory.states]
                maps, map_side, sums, sum_side = state
                pixels = [int(np.prod(s.shape_out[1:])) for s in self.network.stages]
                sizes = np.repeat(pixels, [s.channels for s in self.network.stages]).astype(int)
                rows = np.arange(sizes.sum())
                if len(sizes):
                    theirs = maps[0][2 * rows + np.repeat(map_side, sizes)]
                    mine = ours[0][2 * rows + np.repeat(ours[1], sizes)]
                    assert np.array_equal(mine[:, :N], theirs[:, :N])
                rows = np.arange(len(sum_side))
                theirs, mine = sums[0][2 * rows + sum_side], ours[2][2 * rows + ours[3]]
                assert np.array_equal(mine[:, :N], theirs[:, :N])


def windows_of(bounds, slope=0.3, size=N + 1):
    a = np.arange(size)
    low, high = np.array(bounds).T
    inside = (a >= low[:, None]) & (a <= high[:, None])
    log_weight = np.where(inside, slope * np.sqrt(a) * a, -np.inf)
    return Windows(log_weight, low, np.zeros(len(low)), np.ones(len(low), np.int64))


@pytest.mark.parametrize("name", NETWORKS)
def test_chains_equal_those_of_the_cpu(name):
    case = Case(name, windows_of([(0, N), (0, N), (0, N)], 0.05))
    case.start()
    case.run(3, [5, 4, 3], test_low=0)
