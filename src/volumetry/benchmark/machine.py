"""What the machine is that a benchmark ran on."""

import os
from datetime import UTC, datetime

import torch

from volumetry.runtime.provenance import provenance


def describe(threads: int, code_digest: str) -> dict[str, str | int | float]:
    """Attributes: the machine, what it is busy with, versions, and the date.

    The bytes of a benchmark are never the same, so a date does no harm.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        **provenance(code_digest),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "memory_gb": round(memory / 1e9, 1),
        "load": round(os.getloadavg()[0], 2),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
