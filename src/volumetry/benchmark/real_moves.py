"""Moves a second of real weights beside those of binary ones, on the same one hidden layer.

A move of either changes as many weights as it does by default; every move is accepted. The baseline
sends every example through the network of real weights, in torch.
"""

import numpy as np
import torch
import xarray as xr

from volumetry.benchmark.baseline import on_threads
from volumetry.benchmark.clock import rates
from volumetry.benchmark.design import Design
from volumetry.benchmark.moves import FLIPS, FreeWalk
from volumetry.benchmark.synthetic import INPUT_BOUND, make_examples, make_network
from volumetry.errors import VolumetryError
from volumetry.methods import model, real_model  # noqa: F401, what the model is of real weights
from volumetry.networks.forward import count_correct
from volumetry.networks.real import RealNetwork, build_real_network

_CHECKED = 200
"""Moves before engine and forward pass are compared."""


class RealForward:
    """A walker that evaluates every move by a full forward pass, and accepts it.

    Args:
        x, y: examples, shapes (examples, *input_shape) and (examples,).
        changed: incoming weights of a unit that a move draws anew.
    """

    def __init__(self, network: RealNetwork, x, y, *, changed: int):
        self.network, self.changed = network, changed
        self.x = model.as_images(network, x, x)[None]
        self.y = torch.from_numpy(y)
        self.rng = np.random.default_rng(0)
        self.weights = torch.from_numpy(network.space.draw(self.rng))[None]

    @torch.no_grad()
    def move(self, count: int) -> None:
        """Make ``count`` moves."""
        last = self.network.n_weights - self.changed
        for _ in range(count):
            first = self.rng.integers(last + 1)
            new = self.rng.standard_normal(self.changed, np.float32)
            self.weights[0, first : first + self.changed] = torch.from_numpy(new)
            int((model.logits(self.network, self.weights, self.x)[0].argmax(dim=1) == self.y).sum())


def measure(design: Design) -> xr.Dataset:
    """Moves a second over (units, real_n) of real and binary weights, and of the baseline.

    Raises:
        VolumetryError: the engine and a forward pass disagree about the number correct.
    """
    x, y = make_examples(max(design.real_n) + 1, design.side)
    found = np.empty((len(design.real_units), len(design.real_n), 3, design.repetitions))
    for u, units in enumerate(design.real_units):
        layers = [f"linear {units}"]
        binary = make_network(layers, design.side)
        real = build_real_network(
            layers, x.shape[1:], 10, prior="gaussian", input_bound=INPUT_BOUND
        )
        for i, n in enumerate(design.real_n):
            train, test = (x[:n], y[:n]), (x[n : n + 1], y[n : n + 1])
            walks = [
                FreeWalk(net, train, test, with_test=False, changed=net.space.flips(FLIPS, FLIPS))
                for net in (real, binary)
            ]
            _check(real, walks[0], *train)
            plain = RealForward(real, *train, changed=real.space.flips(FLIPS, FLIPS))
            works = [*(walk.move for walk in walks), on_threads(1, plain.move)]
            found[u, i] = rates(works, design.seconds, design.repetitions)
            print(f"{layers[0]}, n = {n}: {np.median(found[u, i, 0]):,.0f} real moves/s")
    names = (
        ("real", "real weights"),
        ("binary", "binary weights"),
        ("torch", "real weights in torch"),
    )
    variables = {
        f"{name}_moves_per_second": (
            ("units", "real_n", "repetition"),
            found[:, :, kind],
            {"long_name": f"moves of {words}, one hidden layer, one core", "units": "s-1"},
        )
        for kind, (name, words) in enumerate(names)
    }
    coordinates = {
        "units": ("units", list(design.real_units), {"long_name": "hidden units", "units": "1"}),
        "real_n": ("real_n", list(design.real_n), {"long_name": "training examples", "units": "1"}),
    }
    return xr.Dataset(variables, coordinates)


def _check(network: RealNetwork, walk: FreeWalk, x: np.ndarray, y: np.ndarray) -> None:
    walk.move(_CHECKED)
    found, full = walk.correct[0], count_correct(network, walk.weights, x, y)
    if found != full:
        raise VolumetryError(
            f"the engine of real weights counts {found} correct examples, a full forward pass "
            f"{full}: one of them is wrong, and no speed is worth anything"
        )
