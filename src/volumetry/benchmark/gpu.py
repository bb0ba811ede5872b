"""Moves a second on a GPU against the number of walkers that it moves side by side.

``snakemake benchmark`` measures it where there is a GPU; ``python -m volumetry.benchmark.gpu`` does
so alone, and with other sizes of the kernels' programs.
"""

import argparse
import dataclasses
import time

import numpy as np
import torch
import xarray as xr

from volumetry.benchmark.clock import rates
from volumetry.benchmark.design import DESIGNS, Design
from volumetry.benchmark.moves import FLIPS, free_window
from volumetry.benchmark.synthetic import make_examples, make_network
from volumetry.engines.layout import map_dtype, sum_dtype
from volumetry.networks import Network
from volumetry.systems.classification import Classification, Problem


def bytes_per_move(network: Network, width: int) -> int:
    """Bytes that a move has to read and write, if all flips are in the first linear layer.

    Each flip reads an input and reads and writes the sums of a unit; then all sums of every later
    layer are read and written. What stays in caches is counted too; weights, sides and what the
    rare flip of a convolution takes are not.

    Args:
        width: examples, padding included.
    """
    value, total = map_dtype(network).itemsize, sum_dtype(network).itemsize
    later = sum(layer.outputs for layer in network.linears[1:])
    rows = FLIPS * (value + 2 * total) + later * 2 * total
    if not later:  # a perceptron's logits are all read
        rows = FLIPS * (value + total) + network.n_classes * total
    return rows * width


class GpuWalk:
    """Walkers that accept every move, on a device.

    Args:
        walkers: how many, each in a walker set of its own.
        device: as torch names it; on the CPU it is that of Triton's interpreter.
        program: ``warps`` and ``block`` of ``chains.gpu.GpuChains``.
    """

    def __init__(self, network: Network, train, test, walkers: int, device: str, **program):
        from volumetry.chains.gpu import GpuChains  # needs triton

        system = Classification.over_correct(Problem(network, *train, *test, *test))
        self.chains = GpuChains(system, FLIPS, walkers, 1, device=device, **program)
        rng = np.random.default_rng(0)
        weights = np.array([system.space.draw(rng) for _ in range(walkers)])
        self._walkers = self.chains.place(weights[:, None])
        self._windows = free_window(system)

    def move(self, count: int) -> None:
        """Make ``count`` moves of each walker, and wait for them."""
        self._walkers = self.chains.advance(self._walkers, self._windows, 1, count).walkers


def copy_bandwidth(device: str, size: int) -> float:
    """Bytes a second read and written by a copy of ``size`` bytes, the best of ten."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(10):
        _wait(device)
        begun = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best = max(best, 2 * size / (time.perf_counter() - begun))
    return best


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def measure(design: Design, device: str = "cuda", **program) -> xr.Dataset:
    """Moves a second of all walkers together, on the training set, over (walkers, repetition).

    Args:
        device, program: as for ``GpuWalk``.
    """
    n = design.fixed_n
    x, y = make_examples(n + design.n_test, design.side)
    train, test = (x[:n], y[:n]), (x[n:], y[n:])
    network = make_network(design.presets[0], design.side)
    walks = [GpuWalk(network, train, test, count, device, **program) for count in design.walkers]
    found = rates([walk.move for walk in walks], design.seconds, design.repetitions)
    found *= np.array(design.walkers)[:, np.newaxis]
    bandwidth = copy_bandwidth(device, design.bandwidth[-1])
    each = bytes_per_move(network, walks[0].chains.on.train.width)
    return xr.Dataset(
        {
            "gpu_moves_per_second": (
                ("walkers", "repetition"),
                found,
                {"long_name": "moves of all walkers on the GPU, all accepted", "units": "s-1"},
            ),
            "gpu_bandwidth_fraction": (
                "walkers",
                np.median(found, axis=1) * each / bandwidth,
                {"long_name": "bytes of these moves over those of a copy", "units": "1"},
            ),
        },
        {
            "walkers": (
                "walkers",
                list(design.walkers),
                {"long_name": "walkers side by side", "units": "1"},
            )
        },
        {"gpu": "none" if device == "cpu" else torch.cuda.get_device_name(device)},
    )


def main() -> None:
    full = DESIGNS["full"]
    parser = argparse.ArgumentParser(description="Measure the chains on a GPU.")
    parser.add_argument("--walkers", type=int, nargs="+", default=full.walkers)
    parser.add_argument("--preset", default=full.presets[0], help="of the network")
    parser.add_argument("--n", type=int, default=600, help="training examples")
    parser.add_argument("--warps", type=int, help="of a program")
    parser.add_argument("--block", type=int, help="examples that a program looks at together")
    given = parser.parse_args()
    design = dataclasses.replace(
        full, walkers=tuple(given.walkers), presets=(given.preset,), fixed_n=given.n
    )
    found = measure(design, warps=given.warps, block=given.block)
    print(f"{found.attrs['gpu']}, {given.preset}, n = {given.n}")
    print("walkers        moves/s   of the bandwidth")
    for walkers in given.walkers:
        one = found.sel(walkers=walkers)
        speed = float(one["gpu_moves_per_second"].median())
        print(f"{walkers:7d} {speed:14,.0f} {float(one['gpu_bandwidth_fraction']):18.1%}")


if __name__ == "__main__":
    main()
