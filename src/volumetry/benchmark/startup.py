"""How long a job takes before it works: a fresh process, its imports, and its kernels.

A job so small that its own work does not count is run in a process of its own: with the kernels to
be compiled, then with those in the cache. The import alone is measured too.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import xarray as xr

from volumetry.benchmark.design import Design
from volumetry.benchmark.synthetic import make_examples, make_network
from volumetry.runtime import netcdf
from volumetry.study.registry import find
from volumetry.systems.classification import Problem

STAGES = ("import", "small job, kernels cached")

_SMALL = {
    "gd": {"networks": 1, "max_epochs": 1, "selection": "final"},
    "guess_and_check": {"max_guesses": 1},
    "rewl": {"bulk_draws": 100, "rung_sweeps": 0.01, "min_blocks": 1, "max_blocks": 1},
    "joint": {"members": 10, "populations": 3, "rung_sweeps": 0.01, "max_anneals": 1},
    "enumerate": {},
}


def run_small_job(sampler: str, folder: str) -> None:
    """Run a sampler on next to nothing, and leave its result in ``folder`` for those that need it.

    Its network is small enough to enumerate; compiled kernels do not depend on sizes.
    """
    (x, y), classes = make_examples(12, 4, 2, seed=1), 2
    network = make_network(["pool", "pool", "linear 2"], 4, classes)
    problem = Problem(network, x[:4], y[:4], x[4:8], y[4:8], x[8:], y[8:])
    method = find(sampler)
    kind, run = method.load()
    needed = [name for name in method.starts_from if name in _SMALL]
    sources = {name: netcdf.read(Path(folder) / f"{name}.nc") for name in needed}
    given = {"sources": sources} if sources else {}
    netcdf.write(run(problem, kind(**_SMALL[sampler]), 0, **given), Path(folder) / f"{sampler}.nc")


def measure(design: Design) -> xr.Dataset:
    """Seconds from the start of a process to the end of its job, over (job, stage).

    A job that starts from another's result has to stand behind it in ``design.jobs``.
    """
    warm = np.empty((len(design.jobs), len(STAGES), design.starts))
    cold = np.empty(len(design.jobs))
    with tempfile.TemporaryDirectory() as results:
        for j, job in enumerate(design.jobs):
            with tempfile.TemporaryDirectory() as cache:
                cold[j] = _start(_job(job, results), cache)
                for repetition in range(design.starts):
                    warm[j, 0, repetition] = _start(f"import {find(job).module}", cache)
                    warm[j, 1, repetition] = _start(_job(job, results), cache)
            print(f"{job}: {np.median(warm[j, 1]):.1f} s, compiled {cold[j]:.1f} s")
    return xr.Dataset(
        {
            "start_seconds": (
                ("job", "stage", "start"),
                warm,
                {"long_name": "from the start of a process until done", "units": "s"},
            ),
            "compile_start_seconds": (
                "job",
                cold,
                {"long_name": "the same with an empty kernel cache, once", "units": "s"},
            ),
        },
        {"job": list(design.jobs), "stage": list(STAGES)},
    )


def _job(sampler: str, folder: str) -> str:
    return f"from {__name__} import run_small_job; run_small_job({sampler!r}, {folder!r})"


def _start(code: str, cache: str) -> float:
    """Seconds that ``python -c code`` takes with compiled kernels kept in ``cache``."""
    before = perf_counter()
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"NUMBA_CACHE_DIR": cache}, check=True
    )
    return perf_counter() - before
