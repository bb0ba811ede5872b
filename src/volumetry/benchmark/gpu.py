"""Moves a second on a GPU against the number of walkers that it moves side by side."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from volumetry.benchmark.clock import rates
from volumetry.benchmark.design import Design
from volumetry.benchmark.synthetic import make_examples, make_network

MakeWalk = Callable[..., Callable[[int], object]]
"""``make_walk(network, train, test, walkers)`` puts walkers that accept every move on the device;
calling what it returns with a count makes that many moves of each, and waits for them."""


def measure(design: Design, make_walk: MakeWalk) -> xr.Dataset:
    """Moves a second of all walkers together, on the training set, over (walkers, repetition)."""
    n = design.fixed_n
    x, y = make_examples(n + design.n_test, design.side)
    train, test = (x[:n], y[:n]), (x[n:], y[n:])
    network = make_network(design.presets[0], design.side)
    works = [make_walk(network, train, test, walkers) for walkers in design.walkers]
    found = rates(works, design.seconds, design.repetitions)
    found *= np.array(design.walkers)[:, np.newaxis]
    return xr.Dataset(
        {
            "gpu_moves_per_second": (
                ("walkers", "repetition"),
                found,
                {"long_name": "moves of all walkers on the GPU, all accepted", "units": "s-1"},
            )
        },
        {
            "walkers": (
                "walkers",
                list(design.walkers),
                {"long_name": "walkers side by side", "units": "1"},
            )
        },
    )
