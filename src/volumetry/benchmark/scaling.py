"""How the cost of a move grows with the examples and with the network."""

import numpy as np
import xarray as xr

from volumetry.benchmark.clock import rates
from volumetry.benchmark.design import Design
from volumetry.benchmark.moves import FreeWalk
from volumetry.benchmark.synthetic import make_examples, make_network

PRESET = "simple_cnn"
DEPTH_WIDTH = 64


def measure(design: Design) -> xr.Dataset:
    """Seconds of a move on the training set alone, one core, over n, N, width and depth."""
    n_test = max(design.scale_n_test)
    x, y = make_examples(max(design.scale_n) + n_test, design.side)

    def walk(layers, n, n_test):
        network = make_network(layers, design.side)
        train, test = (x[n_test:][:n], y[n_test:][:n]), (x[:n_test], y[:n_test])
        return FreeWalk(network, train, test, with_test=False).move

    few = min(design.scale_n_test)
    n = design.fixed_n
    series = {
        "scale_n": (
            [(PRESET, size, few) for size in design.scale_n],
            design.scale_n,
            "training examples",
        ),
        "scale_n_test": (
            [(PRESET, n, size) for size in design.scale_n_test],
            design.scale_n_test,
            "test examples, which a move on the training set does not look at",
        ),
        "width": (
            [(["conv 6", "pool", f"linear {width}"], n, few) for width in design.widths],
            design.widths,
            "units of the hidden linear layer",
        ),
        "depth": (
            [
                (["conv 6", "pool", *[f"linear {DEPTH_WIDTH}"] * depth], n, few)
                for depth in design.depths
            ],
            design.depths,
            f"hidden linear layers of {DEPTH_WIDTH} units",
        ),
    }
    result = xr.Dataset(attrs={"fixed_n": n})
    for name, (cases, values, words) in series.items():
        seconds = 1 / rates([walk(*case) for case in cases], design.seconds, design.repetitions)
        for case, repeated in zip(cases, seconds):
            print(f"{case}: {1e6 * np.median(repeated):.2f} us a move")
        result[name] = (name, list(values), {"long_name": words, "units": "1"})
        result[f"move_seconds_by_{name.removeprefix('scale_')}"] = (
            (name, "repetition"),
            seconds,
            {"long_name": f"a move, over {words}; one core, training set", "units": "s"},
        )
    return result
