"""The chains of a GPU are those of the CPU: equality of every number.

Without a GPU the kernels run in Triton's interpreter, so the problems are tiny; and they are
compiled for one all the same.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from enumeration import random_problem

from volumetry.benchmark.design import DESIGNS
from volumetry.benchmark.gpu import bytes_per_move, measure
from volumetry.chains.cpu import (
    Levels,
    Tally,
    Windows,
    draw_uniform,
    make_memory,
    make_tally,
    make_walkers,
    run_rounds,
    start,
)
from volumetry.engines.layout import make_plan
from volumetry.errors import ConfigError
from volumetry.methods.flat_histogram import FlatHistogram, fixed_windows
from volumetry.methods.rewl import Parameters as RewlParameters
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct
from volumetry.runtime import device
from volumetry.weights.binary import random_weights

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def interpret(patch):
    """Have Triton interpret its kernels; it looks as they are defined, and again as they run."""
    if DEVICE == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")


with pytest.MonkeyPatch.context() as context:
    interpret(context)
    from triton.runtime import interpreter

    from volumetry.chains import gpu as chains_gpu
    from volumetry.chains.gpu import Chains

NETWORKS = {  # layers, input shape, classes, largest |input|, training examples
    "perceptron": ((), (7,), 3, 15, 40),
    "two hidden layers": (("linear 5", "linear 4"), (6,), 3, 15, 40),
    "small cnn": (("conv 2", "pool", "linear 5"), (1, 4, 4), 2, 15, 20),
    "two stages": (("conv 2", "pool", "conv 3", "linear 6"), (2, 5, 4), 3, 15, 20),
    "wide types": (("conv 1", "linear 6"), (1, 2, 3), 3, 10**8, 40),
}
BLOCK = 32  # so 40 examples are two blocks
N_TEST, SETS = 20, 2
SEED = np.uint64(2**63 + 11)
ONLY_A = Levels(0, 1, 1)


@pytest.fixture(autouse=True)
def on_device(monkeypatch):
    interpret(monkeypatch)
    # Its checks of overflow take as long as everything else.
    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "options", replace(builder.options, sanitize_overflow=False))


class Case:
    """A random problem, with walker sets in three overlapping windows, on both devices."""

    def __init__(self, name, bins=1, flips=3, ln_f=0.0):
        rng = np.random.default_rng(3)
        layers, shape, classes, bound, n = NETWORKS[name]
        self.n = n
        self.network = build_network(layers, shape, classes, bound)
        x = rng.integers(-bound, bound + 1, (n + N_TEST, *shape))
        y = rng.integers(0, classes, n + N_TEST)
        for labels in (y[:n], y[n:]):
            labels.sort()  # in the order in which a plan keeps them
        train, test = (x[:n], y[:n]), (x[n:], y[n:])
        drawn = [random_weights(self.network.n_weights, rng) for _ in range(40)]
        counts = [[count_correct(self.network, w, *part) for part in (train, test)] for w in drawn]
        # Flat in A, or in bins of two test hits over a band of A.
        base = 0 if bins == 1 else min(counts)[0]
        self.levels = ONLY_A if bins == 1 else Levels(base, bins, 2)
        size = n + 1 if bins == 1 else (n + 1 - base) * bins
        coordinate = np.arange(size) % (size if bins == 1 else bins)
        at = np.array([a if bins == 1 else hits // 2 for a, hits in counts])
        order = np.argsort(at, kind="stable")
        middle, spread = at[order[20]], 3 if bins == 1 else 1
        low = np.array([0, middle - spread, middle])
        high = np.array([middle, middle + spread, size])
        inside = (coordinate >= low[:, None]) & (coordinate <= high[:, None])
        log_weight = np.where(inside, -0.7 * np.abs(coordinate - middle), -np.inf)
        windows = Windows(log_weight, low, np.full(3, ln_f), np.array([1, 2, 3]))

        plans = [make_plan(self.network, *part) for part in (train, test)]
        self.memory = [make_memory(self.network, *plans, 3, flips, bins) for _ in range(SETS)]
        self.sides = []
        for _ in range(2):
            sets = [make_walkers(self.network, 3) for _ in range(SETS)]
            for r, walkers in enumerate(sets):
                walkers.weights[:] = [drawn[order[i]] for i in (r, 20 - r, 39 - r)]
                walkers.step[:] = 2**33  # more than 32 bits
            self.sides.append((sets, [Windows(*(a.copy() for a in windows)) for _ in sets]))
        self.chains = Chains(self.network, train, test, flips, self.levels, DEVICE, block=BLOCK)

    def start(self):
        for memory, walkers in zip(self.memory, self.sides[0][0]):
            start(memory, walkers, self.levels)
        self.chains.start(self.sides[1][0])
        self.check()

    def run(self, rounds, moves, test_low=10**6, test_every=0):
        """Run both; the tallies of all sets added up."""
        moves = np.array(moves)
        size = self.sides[0][1][0].log_weight.shape[1]
        tallies = [[make_tally(3, size, N_TEST, rounds) for _ in range(SETS)] for _ in range(2)]
        sets, windows = self.sides[0]
        rest = moves, test_low, test_every
        for r in range(SETS):
            run_rounds(
                self.memory[r], sets[r], windows[r], tallies[0][r], self.levels, SEED, r, *rest
            )
        self.chains.run_rounds(*self.sides[1], tallies[1], int(SEED), *rest)
        check_equal(*tallies)
        self.check()
        return Tally(*map(sum, zip(*tallies[0])))

    def check(self):
        for records in zip(*self.sides):
            check_equal(*records)
        for r, memory in enumerate(self.memory):
            self.check_values(memory.states, self.chains._values, slice(3 * r, 3 * r + 3), self.n)
            if self.levels.bins > 1:
                own = self.chains._test_values
                self.check_values(memory.test_states, own, slice(3 * r, 3 * r + 3), N_TEST)

    def check_values(self, states, values, replicas, n):
        """Current values, whichever side they are on."""
        pixels = [
            s.shape_out[1] * s.shape_out[2] for s in self.network.stages for _ in range(s.channels)
        ]
        one, two = ([(v.maps, v.map_side), (v.sums, v.sum_side)] for v in (states, values))
        one = [(a[:, 0, :, :n], side) for a, side in one]
        two = [[a.cpu().numpy()[replicas] for a in pair] for pair in two]
        for (a, a_side), (b, b_side), repeats in zip(one, two, (pixels, 1)):
            if a_side.size:
                for side in (a_side, b_side):
                    assert side.max() <= 1
                a_rows, b_rows = (np.repeat(side, repeats, axis=1) for side in (a_side, b_side))
                rows = np.arange(a_rows.shape[1])
                walker = np.arange(len(a))[:, None]
                assert np.array_equal(
                    a[walker, 2 * rows + a_rows], b[..., :n][walker, 2 * rows + b_rows]
                )


def check_equal(ours, theirs):
    for one, other in zip(ours, theirs):
        for name, a, b in zip(one._fields, one, other):
            assert np.array_equal(a, b), name


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_weights_exchange_and_tests(name):
    case = Case(name)
    case.start()
    top = case.sides[0][1][0].low[2]
    tally = case.run(3, [1, 2, 1], test_low=top + 1, test_every=3)
    assert 0 < tally.accepted.sum() < SETS * 3 * 4
    assert tally.attempts.sum() == SETS * 3
    assert SETS * 3 <= tally.tests.sum() < SETS * 3 * 3


@pytest.mark.parametrize("name", ["perceptron", "small cnn"])
def test_wang_landau_goes_on_from_run_to_run(name):
    case = Case(name, ln_f=0.3, flips=5)
    case.start()
    for moves in ([2, 1, 1], [1, 2, 1]):
        case.run(2, moves)
    assert (case.sides[0][1][0].log_weight != case.sides[0][1][1].log_weight).any()


@pytest.mark.parametrize("name", ["perceptron", "small cnn"])
def test_levels_of_test_accuracy(name):
    case = Case(name, bins=11, ln_f=0.2)
    case.start()
    tally = case.run(2, [1, 2, 2])
    assert 0 < tally.accepted.sum() < SETS * 2 * 5


def test_uniform_draws():
    case = Case("small cnn")
    both = []
    for draw in (lambda *a: draw_uniform(case.memory[0], *a), case.chains.draw_uniform):
        weights = np.zeros((4, case.network.n_weights), np.int8)
        counts = np.zeros((3, case.n + 1), np.int64)
        draw(weights, SEED, 7, *counts)
        both.append((weights, counts))
    assert all(map(np.array_equal, *both))


def test_kernels_compile_for_a_gpu(monkeypatch):
    script = Path(__file__).parent / "gpu_compile.py"
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    run = subprocess.run(
        [sys.executable, script, "binned"], check=True, capture_output=True, text=True
    )
    assert {"_run_windows", "_exchange", "_evaluate_all", "_tally_tests"} <= set(
        re.findall(r"(\w+): \d+ registers", run.stdout)
    )


def test_stages_run_alike_on_both_devices(monkeypatch):
    """Through ``FlatHistogram``, which hands walkers and tallies over to the device."""
    monkeypatch.setattr(chains_gpu, "Chains", lambda *given: Chains(*given[:-1], DEVICE))
    problem = random_problem(1)
    size = len(problem.y_train) + 1
    weights = [
        random_weights(problem.network.n_weights, np.random.default_rng(r)) for r in range(2)
    ]
    found = []
    with ThreadPoolExecutor(2) as pool:
        for name in ("cpu", "cuda"):
            sampler = FlatHistogram(
                "rewl", problem, RewlParameters(walkers=2), 5, pool, ONLY_A, np.zeros(size), name
            )
            sampler.draw_uniform(
                1, np.zeros((2, len(weights[0])), np.int8), 3, *np.zeros((3, size), np.int64)
            )
            sampler.sets = [make_walkers(problem.network, 2) for _ in weights]
            sampler.enter([(0, size - 1)] * 2, np.array(weights), np.zeros(2, np.int64))
            windows = fixed_windows(0.1 * np.arange(size) * np.ones((2, 1)), np.zeros(2, np.int64))
            found.append((sampler.run([windows] * 2, 2, [2, 1], test_low=0), sampler.sets))
    for ours, theirs in zip(*found):
        check_equal(ours, theirs)


def test_speed_is_measured():
    design = replace(DESIGNS["quick"], presets=("perceptron",), walkers=(1, 2), seconds=1e-6)
    found = measure(design, DEVICE)
    assert found["walkers"].values.tolist() == [1, 2]
    assert (found["gpu_moves_per_second"] > 0).all()
    assert (found["gpu_bandwidth_fraction"] > 0).all()


def test_bytes_of_a_move_are_those_of_thirteen_rows():
    network = build_network("simple_cnn", (1, 28, 28), 10, 222)
    assert bytes_per_move(network, 608) == 608 * (3 * (2 + 4 + 4) + 10 * (4 + 4))


@pytest.mark.parametrize(
    ("wanted", "walkers", "gpu", "triton", "chosen"),
    [
        ("cpu", 999, True, True, "cpu"),
        ("auto", 32, True, True, "cuda"),
        ("auto", 31, True, True, "cpu"),
        ("auto", 32, False, True, "cpu"),
        ("auto", 32, True, False, "cpu"),
        ("cuda", 4, True, True, "cuda"),
        ("cuda", 4, False, True, "no CUDA GPU"),
        ("cuda", 4, True, False, "triton is not installed"),
    ],
)
def test_the_device_is_chosen_by_what_is_there(monkeypatch, wanted, walkers, gpu, triton, chosen):
    monkeypatch.setattr(device, "_driver_is_there", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(device, "find_spec", lambda name: triton or None)
    if chosen in ("cpu", "cuda"):
        assert device.choose(wanted, walkers) == chosen
    else:
        with pytest.raises(ConfigError, match=chosen):
            device.choose(wanted, walkers)
