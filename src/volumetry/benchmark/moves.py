"""Moves a second of the incremental engine, as the samplers run it, and of a full forward pass.

Every move is accepted: a free walk, the worst case. A move that the training set rejects never
looks at the test set, so the chains of a study lie between the two columns measured here.
"""

import numpy as np
import torch
import xarray as xr

from volumetry.benchmark.baseline import BATCHES, FullForward, on_threads
from volumetry.benchmark.clock import fastest, rates
from volumetry.benchmark.design import Design
from volumetry.benchmark.synthetic import make_examples, make_network
from volumetry.chains.cpu import CpuChains
from volumetry.chains.records import Tally, Windows
from volumetry.errors import VolumetryError
from volumetry.networks import Network
from volumetry.networks.real import RealNetwork
from volumetry.systems.classification import Classification, Problem

EXAMPLES = ("training", "training and test")
"""What a move is evaluated on."""

THREADS = ("one thread", "all threads")
"""Threads of the baseline; the engine has one."""

FLIPS = 3


class FreeWalk:
    """One walker in one window without weights: the chain of the samplers, never rejecting.

    Args:
        train, test: inputs (n, *input_shape) and labels (n,).
        with_test: whether every move evaluates the test set too.
        bins: of the number of correct test examples, if so; N + 1 tell it exactly.
        changed: weights that a move changes.
    """

    def __init__(
        self,
        network: Network | RealNetwork,
        train,
        test,
        *,
        with_test: bool,
        bins: int = 2,
        changed: int = FLIPS,
    ):
        problem = Problem(network, *train, *test, *test)
        if with_test:
            self.system = Classification.over_accuracy(problem, bins)
        else:
            self.system = Classification.over_correct(problem)
        self._chains = CpuChains(self.system, changed, 1, seed=0)
        weights = self.system.space.draw(np.random.default_rng(0))
        self._walkers = self._chains.place(weights[None, None])
        self._windows = free_window(self.system)

    @property
    def weights(self) -> np.ndarray:
        """The present weights: (n_weights,)."""
        return self.system.space.decode(self._chains.positions())[0, 0]

    @property
    def correct(self) -> tuple[int, int]:
        """Training examples correct, and the bin of correct test examples."""
        return divmod(int(self._walkers.level[0, 0]), self.system.levels.bins)

    def move(self, count: int) -> Tally:
        """Make ``count`` moves; what was counted."""
        made = self._chains.advance(self._walkers, self._windows, 1, count)
        self._walkers = made.walkers
        return made.tally


def free_window(system: Classification) -> Windows:
    """One window over all levels, where every move is accepted."""
    return Windows.fixed(np.zeros((1, system.grid.size)), np.zeros(1, np.int64))


def measure(design: Design, threads: int) -> xr.Dataset:
    """Moves a second over (architecture, n, examples), of engine and baseline.

    Raises:
        VolumetryError: engine and baseline disagree about a number of correct examples.
    """
    shape = len(design.presets), len(design.n), len(EXAMPLES)
    ours = np.empty((*shape, design.repetitions))
    plain = np.empty((*shape, len(THREADS), design.repetitions))
    correct = np.empty(shape, np.int64)
    x, y = make_examples(max(design.n) + design.n_test, design.side)
    test = x[: design.n_test], y[: design.n_test]
    x, y = x[design.n_test :], y[design.n_test :]
    for a, preset in enumerate(design.presets):
        network = make_network(preset, design.side)
        batches = _best_batches(network, *test, threads)
        for i, n in enumerate(design.n):
            train = x[:n], y[:n]
            for e in range(len(EXAMPLES)):
                place = a, i, e
                correct[place] = _check(network, train, test, with_test=e == 1)
                walk = FreeWalk(network, train, test, with_test=e == 1)
                examples = _joined(train, test) if e else train
                works = [walk.move] + [
                    on_threads(
                        count,
                        FullForward(network, *examples, walk.weights, batch=batches[count]).move,
                    )
                    for count in (1, threads)
                ]
                found = rates(works, design.seconds, design.repetitions)
                ours[place], plain[place] = found[0], found[1:]
                print(f"{preset}, n = {n}, {EXAMPLES[e]}: {np.median(ours[place]):,.0f} moves/s")
    dims = "architecture", "n", "examples"
    per_second = {"units": "s-1"}
    speedup = np.median(ours, -1)[..., None] / np.median(plain, -1)
    variables = {
        "moves_per_second": (
            (*dims, "repetition"),
            ours,
            {"long_name": "moves of the incremental engine on one core, all accepted"} | per_second,
        ),
        "baseline_moves_per_second": (
            (*dims, "baseline_threads", "repetition"),
            plain,
            {"long_name": "moves of a full forward pass in torch"} | per_second,
        ),
        "move_speedup": (
            (*dims, "baseline_threads"),
            speedup * np.array([1, threads]),
            {"long_name": "moves a second and core, engine over baseline (medians)", "units": "1"},
        ),
        "checked_correct": (
            dims,
            correct,
            {
                "long_name": "correct examples after a walk on which engine and baseline agreed",
                "units": "1",
            },
        ),
    }
    coordinates = {
        "architecture": list(design.presets),
        "n": ("n", list(design.n), {"long_name": "training examples", "units": "1"}),
        "examples": list(EXAMPLES),
        "baseline_threads": list(THREADS),
    }
    return xr.Dataset(variables, coordinates, {"n_test": design.n_test})


def _joined(train, test):
    return tuple(np.concatenate(pair) for pair in zip(train, test))


def _check(network: Network, train, test, *, with_test: bool) -> int:
    """Correct examples after 200 moves, on which the engine and an exact full pass must agree."""
    test = tuple(part[:500] for part in test)  # bins for each number correct take memory
    n_test = len(test[1])
    walk = FreeWalk(network, train, test, with_test=with_test, bins=n_test + 1)
    walk.move(200)
    found = walk.correct
    full = [
        FullForward(network, *examples, walk.weights, dtype=torch.float64).count_correct()
        for examples in (train, test)
    ]
    if found != (full[0], full[1] * with_test):
        raise VolumetryError(
            f"the engine counts {found} correct training and test examples, a full forward pass "
            f"{full}: one of them is wrong, and no speed is worth anything"
        )
    return sum(found)


def _best_batches(network: Network, x, y, threads: int) -> dict[int, int]:
    """{threads: fastest batch size of a full forward pass} on some of the examples."""
    x, y = x[: 2 * max(BATCHES)], y[: 2 * max(BATCHES)]
    weights = np.ones(network.n_weights)
    best = {}
    for count in {1, threads}:
        walks = {
            batch: on_threads(count, FullForward(network, x, y, weights, batch=batch).move)
            for batch in BATCHES
        }
        best[count] = fastest({batch: lambda w=w: w(1) for batch, w in walks.items()})
    return best
