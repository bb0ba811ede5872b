"""What the machine is that a benchmark ran on."""

import os
from datetime import UTC, datetime

import torch

from volumetry.runtime.provenance import packages, provenance
from volumetry.study.registry import METHODS


def describe(threads: int, code_digest: str, device: str) -> dict[str, str | int | float]:
    """Attributes: the machine, what it is busy with, versions, and the date.

    The bytes of a benchmark are never the same, so a date does no harm.
    """
    code = ("volumetry.benchmark.run", *(method.module for method in METHODS.values()))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        **provenance(code_digest, packages(*code, device=device)),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "memory_gb": round(memory / 1e9, 1),
        "load": round(os.getloadavg()[0], 2),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
