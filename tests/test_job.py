"""A sampler job: the problem it reads, the attributes it writes, how it ends."""

import json
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from volumetry import datasets
from volumetry.datasets.storage import dataset_to_xarray, draw_subset_of
from volumetry.errors import NetworkError
from volumetry.methods.result import common_result
from volumetry.parameters import parameter
from volumetry.runtime import netcdf
from volumetry.study.job import Task, load_problem, run_job
from volumetry.study.registry import METHODS

SPEC = {"source": "digits", "classes": [0, 7], "n_test": 30}


@dataclass(frozen=True)
class Parameters:
    tries: int = parameter(1, about="Tries.")
    walkers: int = parameter(40, about="Walkers.")


@pytest.fixture
def files(tmp_path):
    """Paths of a dataset and of a subset with label noise; a stub sampler to run on them."""
    dataset = dataset_to_xarray(datasets.load(SPEC), SPEC)
    subset = draw_subset_of(dataset, n_validation=20, label_noise=0.5, seed=3)
    netcdf.write(dataset, tmp_path / "dataset.nc")
    netcdf.write(subset, tmp_path / "subset.nc")
    return tmp_path / "dataset.nc", tmp_path / "subset.nc"


def test_a_problem_holds_the_first_examples_of_the_order(files):
    dataset, subset = map(netcdf.read, files)
    problem, label_noise = load_problem(*files, {"layers": ["linear 3"]}, 12)
    x_pool, order = dataset["x_pool"].values, subset["order"].values
    assert label_noise == 0.5 and len(order) == 180
    assert np.array_equal(problem.x_train, x_pool[order[:12]]) and problem.x_train.dtype == np.int8
    assert np.array_equal(problem.y_train, subset["label"].values[:12])
    assert (problem.y_train != dataset["y_pool"].values[order[:12]]).any()
    assert np.array_equal(problem.x_test, datasets.load(SPEC).x_test)
    assert np.array_equal(problem.y_test, datasets.load(SPEC).y_test)
    assert np.array_equal(problem.x_validation, x_pool[subset["validation"].values])
    assert len(problem.y_validation) == 20
    assert problem.network.n_weights == 64 * 3 + 3 * 2 and problem.network.input_bound == 11
    larger, _ = load_problem(*files, {"layers": ["linear 3"]}, 40)
    assert np.array_equal(larger.x_train[:12], problem.x_train)
    assert np.array_equal(larger.x_validation, problem.x_validation)


def test_a_network_too_large_for_the_data_is_refused(files):
    with pytest.raises(NetworkError, match="64-bit"):
        load_problem(*files, {"layers": [f"linear {10**17}"]}, 4)


def test_a_job_says_where_its_result_comes_from(files, tmp_path, monkeypatch):
    def run(problem, parameters, seed, *, threads, checkpoint):
        assert (parameters.tries, seed, threads) == (5, 2**62, 2)
        return common_result(converged=True, verdict="stub", guesses=len(problem.y_train))

    stub = SimpleNamespace(Parameters=Parameters, run=run)
    monkeypatch.setitem(sys.modules, "volumetry.methods.stub", stub)
    cell = {"dataset": "d", "architecture": "a", "n": 8, "replicate": 1, "sampler": "stub"}
    task = Task(
        module="volumetry.methods.stub",
        architecture={"layers": ["pool", "linear 3"]},
        parameters={"tries": 5},
        seed=2**62,
        code_digest="abc",
        packages={"cpu": ["numpy", "scikit-learn"], "cuda": ["torch"]},
    )
    paths = [tmp_path / name for name in ("one.nc", "two.nc")]
    for path in paths:
        netcdf.write(run_job(*files, cell, task, threads=2), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    result = netcdf.read(paths[0])
    assert result["guesses"] == 8 and result.attrs["verdict"] == "stub"
    expected = cell | {"seed": 2**62, "label_noise": 0.5, "code_digest": "abc", "device": "cpu"}
    assert {name: result.attrs[name] for name in expected} == expected
    assert json.loads(result.attrs["layers"]) == ["pool", "linear 3"]
    assert json.loads(result.attrs["parameters"]) == {"tries": 5}
    assert list(json.loads(result.attrs["versions"])) == ["python", "numpy", "scikit-learn"]
    assert result.attrs["n_weights"] == 16 * 3 + 3 * 2


@pytest.mark.parametrize(
    ("statement", "lines", "status"),
    [
        ("raise DataError('of the user')", ["Error: of the user"], 1),
        ("os.system('echo from a child')", ["from a child"], 0),
    ],
)
def test_all_output_of_a_job_goes_to_its_log(tmp_path, statement, lines, status):
    script = (
        "import os, sys\nfrom volumetry.errors import DataError\n"
        "from volumetry.runtime.joblog import logged\n"
        f"with logged('log'):\n    print('begins')\n    {statement}\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (status, b"", b"")
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(["begins", *lines])


def test_runs_of_a_job_have_logs_of_their_own(tmp_path):
    script = (
        "import os\nfrom volumetry.runtime.joblog import leave, logged\n"
        "for log in ('one', 'two'):\n    with logged(log):\n        print('in', log)\n"
        "        os.system('echo a child in ' + log)\n    print('after', log)\n"
        "leave()\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"after one\nafter two\n", b"")
    for log in ("one", "two"):
        assert sorted((tmp_path / log).read_text().splitlines()) == [
            f"a child in {log}",
            f"in {log}",
        ]


def test_a_mistake_of_the_program_keeps_its_traceback(tmp_path):
    script = "from volumetry.runtime.joblog import logged\nwith logged('log'):\n    1 / 0\n"
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert result.returncode == 1 and not result.stderr
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cuda")])
def test_a_sampler_that_knows_devices_is_given_one(files, monkeypatch, devices):
    def run(problem, parameters, seed, *, threads, checkpoint, device="cpu"):
        return common_result(converged=True, verdict=device)

    stub = SimpleNamespace(Parameters=Parameters, run=run)
    monkeypatch.setitem(sys.modules, "volumetry.methods.stub", stub)
    monkeypatch.setattr("volumetry.study.job.choose", lambda *given: {("auto", 40): "cuda"}[given])
    cell = {"dataset": "d", "architecture": "a", "n": 8, "replicate": 1, "sampler": "stub"}
    task = Task(
        module="volumetry.methods.stub",
        architecture={"layers": []},
        parameters={},
        seed=1,
        code_digest="abc",
        packages={"cpu": ["numpy"], "cuda": ["torch"]},
        devices=devices,
    )
    result = run_job(*files, cell, task, device="auto")
    expected = devices[-1]
    assert (result.attrs["verdict"], result.attrs["device"]) == (expected, expected)
    assert ("torch" in json.loads(result.attrs["versions"])) == (expected == "cuda")


def test_chains_of_real_weights_never_ask_for_a_gpu():
    for name, device in (("rewl", ("cpu",)), ("gd", ("cpu", "cuda"))):
        assert METHODS[name].devices_for({"layers": [], "weights": "gaussian"}) == device
        assert METHODS[name].devices_for({"layers": []}) == ("cpu", "cuda")
