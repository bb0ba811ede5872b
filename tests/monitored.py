"""A study for the monitor, made by hand: files of every kind, and fixtures."""

import os
import time
from pathlib import Path

import pytest
import yaml

from volumetry.methods.result import common_result
from volumetry.runtime import netcdf
from volumetry.study.grid import Run

CONFIG = {
    "replicates": 2,
    "datasets": {"small": {"n": [4, 8]}},
    "architectures": {"perceptron": {"layers": []}},
    "samplers": {"gd": {}, "guess_and_check": {}, "rewl": {}},
}
NOTE = "7 round trips in 20 blocks"
PROGRESS = f"rewl, production stage: 45%, 0.5 blocks/s, at most 110 s left; {NOTE}"


class Results:
    """A folder of results, made by hand."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))

    def path(self, folder: str, run: Run, suffix: str) -> Path:
        path = self.folder / folder / f"{run.cell}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, run: Run, text: str, age: float = 0.0) -> None:
        path = self.path("logs/runs", run, "log")
        path.write_text(text)
        os.utime(path, (time.time() - age,) * 2)

    def finish(self, run: Run, seconds: float | None = None, **numbers) -> Path:
        numbers = {"converged": True, "verdict": "converged"} | numbers
        result = common_result(**numbers).assign_attrs(run._asdict())
        path = self.path("runs", run, "nc")
        netcdf.write(result, path)
        if seconds is not None:
            table = f"s\tmax_rss\n{seconds}\t100.0\n"
            self.path("benchmarks/runs", run, "tsv").write_text(table)
        return path

    def touch(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made")


def run_of(sampler: str, n: int = 4, replicate: int = 0) -> Run:
    return Run("small", "perceptron", n, replicate, sampler)


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results")


@pytest.fixture
def mixed(results):
    """A study with a job in every state, and a result of every verdict."""
    results.touch("datasets/small.nc")
    results.touch("subsets/small/r0.nc")
    results.finish(run_of("gd"), 10.0, test_accuracy=0.9, test_accuracy_stderr=0.01)
    results.finish(run_of("gd", 8), 20.0, converged=False, verdict="not converged: 1 of 2 fitted")
    results.finish(run_of("rewl"), 40.0, test_accuracy=0.6, log_volume=-3.5, log_volume_stderr=0.1)
    results.finish(
        run_of("guess_and_check"), 2.0, converged=False, verdict="no hit", log_volume_upper=-5.8
    )
    results.path("runs", run_of("gd", 4, 1), "nc").write_bytes(b"damaged")
    results.log(run_of("rewl", 8), f"compiled\n{PROGRESS}\n")
    results.log(run_of("rewl", 4, 1), f"{PROGRESS}\n", age=3000)
    results.log(run_of("gd", 8, 1), f"{PROGRESS}\nError: the data are damaged\n", age=500)
    results.log(run_of("rewl", 8, 1), "Traceback (most recent call last):\n  File\nKeyError: 'x'\n")
    return results
