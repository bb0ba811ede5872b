"""How fast one core moves rows of numbers between memory and registers."""

from functools import partial

import numpy as np
import xarray as xr

from volumetry.benchmark.clock import rates
from volumetry.benchmark.design import Design
from volumetry.kernels.jit import jit
from volumetry.kernels.simd import ALIGNMENT, LANES, load, store

_ROW = 1024


@jit
def _add_rows(target, source, times):
    """target += source, as often as asked: what a move does with a row of sums."""
    for _ in range(times):
        for row in range(target.shape[0]):
            for e in range(0, target.shape[1], LANES):
                total = load(target, (row, e)) + load(source, (row, e))
                store(target, (row, e), total)


def measure(design: Design) -> xr.Dataset:
    """Bytes a second of ``target += source`` on one core, over the size of both arrays together."""
    sizes = np.array(design.bandwidth)
    works = [partial(_add_rows, _aligned(size // 2), _aligned(size // 2)) for size in sizes]
    found = rates(works, design.seconds / 4, design.repetitions)
    found *= 1.5 * sizes[:, np.newaxis]  # of the two halves both are read and one is written
    for size, repeated in zip(sizes, found):
        print(f"{size / 1024:,.0f} KiB: {np.median(repeated) / 1e9:.0f} GB/s")
    return xr.Dataset(
        {
            "bandwidth": (
                ("bandwidth_size", "repetition"),
                found,
                {"long_name": "read and written by adding rows, one core", "units": "byte s-1"},
            )
        },
        {
            "bandwidth_size": (
                "bandwidth_size",
                sizes,
                {"long_name": "size of both arrays", "units": "byte"},
            )
        },
    )


def _aligned(size: int) -> np.ndarray:
    """int32 zeros of ``size`` bytes in rows of ``_ROW``, from a multiple of a vector's size."""
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size].view(np.int32).reshape(-1, _ROW // 4)
