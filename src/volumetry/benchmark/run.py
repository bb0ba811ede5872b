"""The whole benchmark: one process, one file."""

import xarray as xr

from volumetry.benchmark import (
    bandwidth,
    epochs,
    gpu,
    guesses,
    machine,
    moves,
    real_moves,
    roofline,
    scaling,
    startup,
)
from volumetry.benchmark.baseline import torch_threads
from volumetry.benchmark.design import DESIGNS
from volumetry.runtime.device import choose


def run(design: str, *, threads: int, code_digest: str) -> xr.Dataset:
    """Measure everything.

    Args:
        design: a name of ``DESIGNS``.
        threads: the cores there are to use.
        code_digest: what the measured code hashes to.

    Returns:
        Every repetition of every measurement, the counts behind the roofline, and as attributes
        the machine. Medians are left to the reader of the file.

    Raises:
        VolumetryError: the engine and the baseline do not agree on the number correct.
    """
    plan = DESIGNS[design]
    device = choose("auto", max(plan.walkers))
    attributes = machine.describe(threads, code_digest, device)  # before the load is our own
    with torch_threads(threads):
        speed = moves.measure(plan, threads)
        memory = bandwidth.measure(plan)
        parts = [
            speed,
            memory,
            roofline.measure(plan, memory["bandwidth"]),
            scaling.measure(plan),
            real_moves.measure(plan),
            guesses.measure(plan, threads),
            epochs.measure(plan),
            startup.measure(plan),
            *([gpu.measure(plan)] if device == "cuda" else []),
        ]
    result = xr.merge(parts, combine_attrs="no_conflicts")
    result["fraction_of_limit"] = (
        result["move_limit_seconds"] * result["moves_per_second"].median("repetition")
    ).assign_attrs(long_name="least time of a move over its measured time (median)", units="1")
    return result.assign_attrs(
        title="Volumetry benchmark",
        Conventions="CF-1.11",
        design=design,
        **attributes,
    )
