"""The machine: what it is, and how fast it moves rows of numbers between memory and registers."""

import os
from datetime import UTC, datetime

import numpy as np
import torch
import xarray as xr

from volumetry.benchmark.clock import rates
from volumetry.benchmark.design import Design
from volumetry.jit import jit
from volumetry.provenance import provenance
from volumetry.simd import BYTES, lanes, load, store

_ROW = 1024


def describe(threads: int, code_digest: str) -> dict[str, str | int | float]:
    """Attributes: the machine, the versions, and when. A benchmark's bytes are never the same."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        **provenance(code_digest),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "memory_gb": round(memory / 1e9, 1),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


@jit
def _add_rows(target, source, times):
    """target += source, as often as asked: what a move does with a row of sums."""
    for _ in range(times):
        for row in range(target.shape[0]):
            for e in range(0, target.shape[1], lanes(target)):
                total = load(target, (row, e)) + load(source, (row, e))
                store(target, (row, e), total)


def measure(design: Design) -> xr.Dataset:
    """Bytes a second of ``target += source`` on one core, over the size of both arrays together."""
    found = np.empty((len(design.bandwidth), design.repetitions))
    for i, size in enumerate(design.bandwidth):
        target, source = _aligned(size // 2), _aligned(size // 2)
        # Two rows are read and one is written.
        moved = 3 * target.nbytes

        def work(times, target=target, source=source):
            _add_rows(target, source, times)

        found[i] = moved * rates(work, design.seconds / 4, design.repetitions)
        print(f"{size / 1024:,.0f} KiB: {np.median(found[i]) / 1e9:.0f} GB/s")
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
                list(design.bandwidth),
                {"long_name": "size of both arrays", "units": "byte"},
            )
        },
    )


def _aligned(size: int) -> np.ndarray:
    """int32 zeros of ``size`` bytes in rows of ``_ROW``, from a multiple of a vector's size."""
    memory = np.zeros(size + BYTES, np.uint8)
    first = -memory.ctypes.data % BYTES
    return memory[first : first + size].view(np.int32).reshape(-1, _ROW // 4)
