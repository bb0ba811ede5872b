"""How fast the chains run on a GPU: ``python -m volumetry.samplers.gpu_speed``.

Random data of the shape of MNIST, n = 600, simple_cnn: the speed does not depend on what the images
show. Every walker has the whole range of A as its window and equal weights, so that all moves are
accepted.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from volumetry.networks import Network, build_network
from volumetry.networks.forward import random_weights
from volumetry.networks.layout import make_plan, map_dtype, sum_dtype
from volumetry.samplers.chains import (
    Levels,
    Windows,
    make_memory,
    make_tally,
    make_walkers,
    run_rounds,
    start,
)

N, N_TEST, FLIPS = 600, 32, 3
WALKERS = (1, 16, 132, 264, 528, 1056, 2112, 4224, 8448)
H200_BANDWIDTH = 4.8e12
"""Bytes a second that the memory of an H200 can move, by its data sheet."""

_ONLY_A = Levels(0, 1, 1)


def bytes_per_move(network: Network, width: int, flips: int = FLIPS) -> int:
    """Bytes that a move has to read and write, if all flips are in the first linear layer.

    Each flip reads an input and reads and writes the sums of a unit; then all sums of every later
    layer are read and written. What stays in caches is counted too; weights, sides and what the
    rare flip of a convolution takes are not.

    Args:
        width: examples, padding included.
    """
    value, total = map_dtype(network).itemsize, sum_dtype(network).itemsize
    later = sum(layer.outputs for layer in network.linears[1:])
    rows = flips * (value + 2 * total) + later * 2 * total
    if not later:  # a perceptron's logits are all read
        rows = flips * (value + total) + network.n_classes * total
    return rows * width


def measure(
    walkers: Sequence[int] = WALKERS,
    *,
    moves: int = 1000,
    layers="simple_cnn",
    warps: int | None = None,
    block: int | None = None,
    device: str = "cuda",
    bandwidth: float = H200_BANDWIDTH,
) -> dict:
    """Moves a second of the chains on the GPU, for several numbers of walkers.

    Args:
        walkers: numbers to measure with; each takes about 3.2 MB of device memory.
        moves: of each walker in a round; the time of four rounds is measured.
        warps, block: as for ``chains_gpu.Chains``.
        device: as torch names it; on the CPU, that of Triton's interpreter.
        bandwidth: of the device's memory, bytes/s.

    Returns:
        ``device``, its name; ``cpu_moves_per_second``, of one core on the same data;
        ``bytes_per_move``; and ``runs``, for each number of walkers a dict with ``walkers``,
        ``moves_per_second``, ``bandwidth_fraction`` and ``cpu_cores``, how many cores would be as
        fast; and ``warps`` and ``block``, as used.
    """
    import torch

    from volumetry.samplers.chains_gpu import Chains

    rng = np.random.default_rng(0)
    network = build_network(layers, (1, 28, 28), 10, 222)
    x = rng.integers(-33, 223, (N + N_TEST, 1, 28, 28))
    y = rng.integers(0, 10, N + N_TEST)
    parts = (x[:N], y[:N]), (x[N:], y[N:])
    core = _time_core(network, parts, rng)
    chains = Chains(network, *parts, FLIPS, _ONLY_A, device, warps, block)
    each = bytes_per_move(network, chains.train.width)
    runs = []
    for count in walkers:
        sets = [make_walkers(network, 1) for _ in range(count)]
        for own in sets:
            own.weights[0] = random_weights(network, rng)
        chains.start(sets)

        def run(rounds, count=count, sets=sets):
            tallies = [make_tally(1, N + 1, N_TEST, rounds) for _ in range(count)]
            begun = time.perf_counter()
            chains.run_rounds(sets, [_window()] * count, tallies, 1, np.array([moves]), N + 1, 0)
            return time.perf_counter() - begun

        run(1)  # compiles
        # What comes before and after the rounds cancels.
        speed = 4 * moves * count / (run(5) - run(1))
        runs.append(
            {
                "walkers": count,
                "moves_per_second": speed,
                "bandwidth_fraction": speed * each / bandwidth,
                "cpu_cores": speed / core,
            }
        )
    return {
        "device": torch.cuda.get_device_name(device) if device != "cpu" else device,
        "cpu_moves_per_second": core,
        "bytes_per_move": each,
        "warps": chains.warps,
        "block": chains.block,
        "runs": runs,
    }


def _window() -> Windows:
    low, interval = np.zeros(1, np.int64), np.ones(1, np.int64)
    return Windows(np.zeros((1, N + 1)), low, np.zeros(1), interval)


def _time_core(network: Network, parts, rng, moves: int = 50_000) -> float:
    """Moves a second of the same chain on one CPU core."""
    memory = make_memory(network, *(make_plan(network, *part) for part in parts), 1, FLIPS)
    walkers = make_walkers(network, 1)
    walkers.weights[0] = random_weights(network, rng)
    start(memory, walkers, _ONLY_A)
    for count in (1, moves):  # the first compiles
        tally = make_tally(1, N + 1, N_TEST, 1)
        rest = np.uint64(1), 0, np.array([count]), N + 1, 0
        begun = time.perf_counter()
        run_rounds(memory, walkers, _window(), tally, _ONLY_A, *rest)
    return moves / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the speed of the chains on a GPU.")
    parser.add_argument("--walkers", type=int, nargs="+", default=WALKERS)
    parser.add_argument("--moves", type=int, default=1000, help="of each walker in a round")
    parser.add_argument("--layers", default="simple_cnn", help="a preset")
    parser.add_argument("--warps", type=int, help="of a program")
    parser.add_argument("--block", type=int, help="examples that a program looks at together")
    parser.add_argument("--bandwidth", type=float, default=H200_BANDWIDTH, help="bytes/s")
    found = measure(**vars(parser.parse_args()))
    print(
        f"{found['device']}; programs of {found['warps']} warps, {found['block']} examples at a "
        f"time; {found['bytes_per_move']} bytes a move; one CPU core: "
        f"{found['cpu_moves_per_second']:,.0f} moves/s"
    )
    print("walkers        moves/s   bandwidth   CPU cores")
    for run in found["runs"]:
        print(
            f"{run['walkers']:7d} {run['moves_per_second']:14,.0f} "
            f"{run['bandwidth_fraction']:10.1%} {run['cpu_cores']:11.1f}"
        )


if __name__ == "__main__":
    main()
