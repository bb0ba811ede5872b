"""Training: the networks of a job as one batched model, and the same networks one at a time."""

from dataclasses import replace

import numpy as np
import xarray as xr

from volumetry.benchmark.clock import rates
from volumetry.benchmark.design import Design
from volumetry.benchmark.synthetic import make_examples, make_network
from volumetry.methods.training import GdParameters, SamParameters, SgdParameters, train
from volumetry.systems.classification import Problem

PRESET = "simple_cnn"
LAYOUTS = ("together", "one at a time")
_NEVER = 10**9
_METHODS = {"gd": GdParameters, "sgd": SgdParameters, "sam": SamParameters}


def measure(design: Design) -> xr.Dataset:
    """Network-epochs a second over (method, train_side, layout), on one core."""
    sides, n = design.train_sides, design.train_n
    found = np.empty((len(_METHODS), len(sides), len(LAYOUTS), design.repetitions))
    for s, side in enumerate(sides):
        x, y = make_examples(n, side)
        none = x[:0], y[:0]
        problem = Problem(make_network(PRESET, side), x, y, *none, *none)
        for m, (method, kind) in enumerate(_METHODS.items()):
            # They go on after they fit, so that every repetition makes the same number of epochs.
            parameters = kind(networks=design.networks, extra_epochs=_NEVER)

            def together(epochs, problem=problem, parameters=parameters):
                parameters = replace(parameters, max_epochs=epochs)
                train(problem, parameters, 0, range(design.networks))

            def alone(epochs, problem=problem, parameters=parameters):
                parameters = replace(parameters, max_epochs=epochs)
                for index in range(design.networks):
                    train(problem, parameters, 0, [index])

            epochs = rates([together, alone], design.seconds, design.repetitions)
            found[m, s] = design.networks * epochs
            print(f"{method}, {side}x{side}: {np.median(found[m, s, 0]):,.0f} network-epochs/s")
    return xr.Dataset(
        {
            "network_epochs_per_second": (
                ("method", "train_side", "layout", "repetition"),
                found,
                {"long_name": "epochs a second, summed over the networks", "units": "s-1"},
            )
        },
        {
            "method": list(_METHODS),
            "train_side": (
                "train_side",
                list(sides),
                {"long_name": "height and width of the images", "units": "1"},
            ),
            "layout": list(LAYOUTS),
        },
        {"train_n": n, "networks": design.networks},
    )
