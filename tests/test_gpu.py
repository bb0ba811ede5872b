"""The chains of a GPU are those of the CPU: equality of every number.

Without a GPU the kernels run in Triton's interpreter, so the problems are tiny; and they are
compiled for one all the same.
"""

import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from enumeration import random_problem

from volumetry.benchmark.design import DESIGNS
from volumetry.benchmark.gpu import bytes_per_move, measure
from volumetry.chains.cpu import CpuChains
from volumetry.chains.records import Mixture, Pull, Schedule, Tally, Windows
from volumetry.errors import ConfigError
from volumetry.methods.flat_histogram.setting import States, open_run
from volumetry.methods.flat_histogram.windows import enter
from volumetry.methods.rewl import Parameters as RewlParameters
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct
from volumetry.runtime import device
from volumetry.systems.classification import Classification, Problem
from volumetry.systems.grid import Levels
from volumetry.weights.moves import Kind, Segment

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def interpret(patch):
    """Have Triton interpret its kernels; it looks as they are defined, and again as they run."""
    if DEVICE == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")


with pytest.MonkeyPatch.context() as context:
    interpret(context)
    from triton.runtime import interpreter

    from volumetry.chains import gpu
    from volumetry.chains.gpu import GpuChains

NETWORKS = {  # layers, input shape, classes, largest |input|, training examples
    "perceptron": ((), (7,), 3, 15, 40),
    "two hidden layers": (("linear 5", "linear 4"), (6,), 3, 15, 40),
    "small cnn": (("conv 2", "pool", "linear 5"), (1, 4, 4), 2, 15, 20),
    "two stages": (("conv 2", "pool", "conv 3", "linear 6"), (2, 5, 4), 3, 15, 20),
    "wide types": (("conv 1", "linear 6"), (1, 2, 3), 3, 10**8, 40),
}
# Kernels for wide types are slow to compile, and those of two stages or hidden layers to interpret.
SLOW = "wide types", "two stages", "two hidden layers"
WITH_CONVOLUTION_SLOW = pytest.mark.parametrize(
    "name", ["perceptron", pytest.param("small cnn", marks=pytest.mark.slow)]
)
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NETWORKS]
BLOCK = 32  # so 40 examples are two blocks
N_TEST, SETS = 20, 2
SEED = 2**63 + 11


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
        problem = Problem(self.network, *train, *test, *test)
        drawn = np.array([problem.space.draw(rng) for _ in range(40)])
        counts = [[count_correct(self.network, w, *part) for part in (train, test)] for w in drawn]
        counts = np.array(counts)
        # Flat in A; with bins, every move tests, and a level is an A and a bin of two hits.
        self.system = Classification.over_correct(problem)
        if bins > 1:
            self.system = Classification.over_accuracy(problem, bins)
            assert self.system.levels == Levels(bins, 2)
        coordinate = self.system.grid.coordinate
        at = counts[:, 0]
        order = np.argsort(at, kind="stable")
        middle, spread = at[order[20]], 3
        low = np.array([0, middle - spread, middle])
        high = np.array([middle, middle + spread, len(coordinate)])
        inside = (coordinate >= low[:, None]) & (coordinate <= high[:, None])
        log_weight = np.where(inside, -0.7 * np.abs(coordinate - middle), -np.inf)
        self.windows = Windows(log_weight, low, np.full(3, ln_f), np.array([1, 2, 3]))
        self.cpu = CpuChains(self.system, flips, SETS, SEED)
        self.gpu = GpuChains(self.system, flips, SETS, SEED, device=DEVICE, block=BLOCK)
        self.starts = drawn[[[order[i] for i in (r, 20 - r, 39 - r)] for r in range(SETS)]]

    def start(self):
        step = 2**33  # more than 32 bits
        self.walkers, other = (side.place(self.starts, step) for side in (self.cpu, self.gpu))
        check_equal(self.walkers, other)
        self.check()

    def run(self, rounds, moves, **tests):
        """Advance both; what they counted in all sets, and the weights they ended with."""
        given = self.walkers, self.windows, rounds, np.array(moves), Schedule(**tests)
        found, other = (side.advance(*given) for side in (self.cpu, self.gpu))
        check_equal(found.walkers, other.walkers)
        check_equal(found.tally, other.tally)
        assert np.array_equal(found.top, other.top)
        assert np.array_equal(found.log_weight, other.log_weight)
        self.walkers = found.walkers
        self.check()
        return Tally(*(counted.sum(axis=0) for counted in found.tally)), found.log_weight

    def check(self):
        assert np.array_equal(self.cpu.positions(), self.gpu.positions())
        for r, buffers in enumerate(self.cpu._buffers):
            replicas = slice(3 * r, 3 * r + 3)
            self.check_values(buffers.states, self.gpu.on.values, replicas, self.n)
            if self.system.levels.bins > 1:
                self.check_values(buffers.test_states, self.gpu.on.test_values, replicas, N_TEST)

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


def check_equal(one, other):
    names = getattr(one, "_fields", range(len(one)))
    for name, a, b in zip(names, map(np.asarray, one), map(np.asarray, other)):
        assert a.dtype == b.dtype and np.array_equal(a, b), name


@pytest.mark.parametrize("name", NAMES)
def test_frozen_weights_exchange_and_tests(name):
    case = Case(name)
    case.start()
    tally, _ = case.run(3, [1, 2, 1], low=int(case.windows.low[2]) + 1, every=3)
    assert 0 < tally.accepted.sum() < SETS * 3 * 4
    assert tally.attempts.sum() == SETS * 3
    assert SETS * 3 <= tally.tests.sum() < SETS * 3 * 3


@pytest.mark.slow
@pytest.mark.parametrize("bins", [1, 11])
def test_mixtures_of_moves(bins):
    case = Case("small cnn", bins)
    size = case.network.n_weights
    segments = Segment("all", 0, size), Segment("conv", 0, 18), Segment("output", size - 10, 10)
    kinds = [Kind(segment, flips) for segment, flips in zip(segments, (3, 1, 3))]
    share = np.random.default_rng(5).uniform(1, 3, (3, 3))
    case.windows = case.windows._replace(mixture=Mixture.of(kinds, share))
    case.start()
    tally, _ = case.run(3, [2, 2, 2])
    assert (tally.proposed.sum(axis=0) > 0).all() and tally.accepted.any()


@WITH_CONVOLUTION_SLOW
def test_wang_landau_goes_on_from_run_to_run(name):
    case = Case(name, ln_f=0.3, flips=5)
    case.start()
    for moves in ([2, 1, 1], [1, 2, 1]):
        _, log_weight = case.run(2, moves)
    assert (log_weight[0] != log_weight[1]).any()


@WITH_CONVOLUTION_SLOW
def test_levels_of_test_accuracy(name):
    case = Case(name, bins=11, ln_f=0.2)
    case.start()
    tally, _ = case.run(2, [1, 2, 2])
    assert 0 < tally.accepted.sum() < SETS * 2 * 5


def test_uniform_draws():
    case = Case("small cnn")
    check_equal(case.cpu.draw(2 * SETS, 2), case.gpu.draw(2 * SETS, 2))


@pytest.mark.parametrize(
    ("bins", "strength"),
    [
        pytest.param(1, None, marks=pytest.mark.slow),
        (1, 0.3),
        pytest.param(11, 0.3, marks=pytest.mark.slow),
    ],
)
def test_a_population(bins, strength):
    case = Case("small cnn", bins)
    populations = [side.populate(5, 4) for side in (case.cpu, case.gpu)]
    check_equal(*populations)
    window = Windows.fixed(0.5 * case.system.grid.coordinate[None], np.zeros(1, np.int64))
    tests, pull = Schedule(low=0 if bins == 1 else None), None
    if strength is not None:
        toward = [case.system.space.draw(np.random.default_rng(g)) for g in range(2)]
        pull = Pull(np.array(toward), strength)
    given = np.array([0, 0, 3, 2]), window, 2, 3, 2, tests, pull
    found = [s.relax(p, *given) for s, p in zip((case.cpu, case.gpu), populations)]
    check_equal(*(each.population for each in found))
    check_equal(*(each[1:] for each in found))


def test_kernels_compile_for_a_gpu(monkeypatch):
    script = Path(__file__).parent / "gpu_compile.py"
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    run = subprocess.run(
        [sys.executable, script, "binned"], check=True, capture_output=True, text=True
    )
    assert {"run_windows", "exchange", "evaluate_all", "tally_tests"} <= set(
        re.findall(r"(\w+): \d+ registers", run.stdout)
    )


def test_stages_run_alike_on_both_devices(monkeypatch):
    """Through ``open_run``, which hands walkers and records over to the device."""
    device = partial(GpuChains, block=BLOCK)
    monkeypatch.setattr(gpu, "GpuChains", lambda *given, **_: device(*given, device=DEVICE))
    problem = random_problem(1)
    system = Classification.over_correct(problem)
    size = system.grid.size
    weights = np.array([problem.space.draw(np.random.default_rng(r)) for r in range(2)])
    found = []
    for name in ("cpu", "cuda"):
        flat = open_run("rewl", system, RewlParameters(walkers=2), 5, None, device=name)
        flat.chains.draw(2, 1)
        states = States.in_turn(weights, np.zeros(2, np.int64), 2)
        entered = enter(flat, [(0, size - 1)] * 2, states, 7)
        windows = Windows.fixed(0.1 * np.arange(size) * np.ones((2, 1)), np.zeros(2, np.int64))
        moves = np.array([2, 1])
        found.append(flat.chains.advance(entered.walkers, windows, 2, moves, Schedule(low=0)))
    check_equal(found[0].walkers, found[1].walkers)
    check_equal(found[0].tally, found[1].tally)


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
