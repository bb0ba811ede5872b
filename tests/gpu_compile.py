"""Compiles every kernel for an H100 or H200 (sm_90), without a GPU, and says what each takes.

To be run in a process of its own, since the kernels of tests are defined for the interpreter.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from volumetry.chains.gpu import GpuChains
from volumetry.chains.records import Mixture, Pull, Schedule, Windows
from volumetry.networks import build_network
from volumetry.systems.classification import Classification, Problem
from volumetry.weights.moves import Kind, Segment

NETWORKS = {  # layers, input shape, training examples
    "simple_cnn": ("simple_cnn", (1, 28, 28), 600),
    "simple_cnn_deep": ("simple_cnn_deep", (1, 28, 28), 600),
    "two hidden layers": (["linear 64", "linear 32"], (784,), 600),
    "perceptron": ("perceptron", (784,), 600),
    "binned": (["conv 1"], (1, 2, 2), 10),
}


class NoGpu:
    """What the compiler asks of a driver."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=None):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)


run = JITFunction.run


def compile_only(kernel, *args, grid, warmup=False, **options):
    if warmup:
        return run(kernel, *args, grid=grid, warmup=True, **options)
    compiled = kernel.warmup(*args, grid=grid, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(compiled.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        usage = subprocess.run(
            [tool, "-res-usage", path], check=True, capture_output=True, text=True
        ).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage).groups()
    print(
        f"  {compiled.metadata.name}: {registers} registers, {stack} bytes of stack, "
        f"{compiled.metadata.shared} bytes of shared memory, {compiled.metadata.num_warps} warps"
    )
    return None


def compile_all(layers, shape, n, bins):
    network = build_network(layers, shape, 10, 255)
    examples = np.zeros((n, *shape), np.int64), np.zeros(n, np.int64)
    problem = Problem(network, *examples, *examples, *examples)
    system = Classification.over_correct(problem)
    if bins > 1:
        system = Classification.over_accuracy(problem, bins)
    chains = GpuChains(system, 3, 1, 0, device="cpu")
    walkers = chains.place(np.ones((1, 3, network.n_weights), np.int8))
    windows = Windows.fixed(np.zeros((3, system.grid.size)), np.zeros(3, np.int64))
    every = Segment("all", 0, network.n_weights)
    mixture = Mixture.of([Kind(every, 3), Kind(every, 1)], np.ones((3, 2)))
    for own in (windows, windows._replace(mixture=mixture)):
        chains.advance(walkers, own, 1, np.ones(3), Schedule(low=0))
    pull = Pull(np.ones((1, network.n_weights), np.int8), 1.0)
    window = Windows.fixed(np.zeros((1, system.grid.size)), np.zeros(1, np.int64))
    chains.relax(chains.populate(0, 2), np.arange(2), window, 1, 1, 1, pull=pull)


if __name__ == "__main__":
    driver.set_active(NoGpu())
    JITFunction.run = compile_only
    for name in sys.argv[1:] or NETWORKS:
        print(name)
        compile_all(*NETWORKS[name], bins=20 if name == "binned" else 1)
