"""Real weights in a study: what a configuration may say of them, and what comes of it."""

import json
import re

import numpy as np
import pytest
from test_config import resolve as resolved
from test_config import with_change

from volumetry import datasets
from volumetry.datasets.storage import dataset_to_xarray, draw_subset_of
from volumetry.errors import VolumetryError
from volumetry.networks.real import RealNetwork
from volumetry.report.page import render
from volumetry.results.aggregate import aggregate
from volumetry.runtime import netcdf
from volumetry.study.job import Task, run_job
from volumetry.study.registry import METHODS

REAL = {"layers": ["linear 4"], "weights": "gaussian"}


def with_real(changes=None, samplers=("gd", "guess_and_check", "population_annealing")):
    given = with_change("architectures", {"real": REAL | (changes or {}), "binary": {"layers": []}})
    return given | {"samplers": {name: {} for name in samplers}}


def test_an_architecture_says_what_its_weights_are():
    study = resolved(with_real())
    assert study.config["architectures"]["real"] == REAL | {
        "scale": "fan_in",
        "biases": False,
        "activation": "relu",
        "normalise": None,
    }
    assert study.config["architectures"]["binary"] == {"layers": []}
    network = study.networks["digits", "real"]
    assert isinstance(network, RealNetwork) and network.spread == 11
    assert resolved(study.config).config == study.config
    assert all(study.memory_mb(run) > 0 for run in study.runs)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"weights": "cauchy"}, 'weights = "cauchy": must be one of binary, gaussian, uniform'),
        ({"weights": "binary", "biases": True}, "biases = True: binary weights have none"),
        ({"scale": -1}, "scale = -1: must be above 0"),
        ({"scale": "xavier"}, "scale = 'xavier': must be fan_in, fan_out, kaiming"),
        ({"scale": [1, 2, 3]}, "3 numbers for 2 layers"),
        ({"scale": [1, 0]}, "scale[1] = 0: must be above 0"),
        ({"biases": "yes"}, 'biases = "yes": must be true or false'),
        ({"activation": "gelu"}, 'activation = "gelu": must be one of linear, relu'),
        ({"layers": ["convolve 3"]}, "layer 'convolve 3' is not one of 'conv C', 'conv C KxK'"),
        ({"layers": ["conv 3 5x3"]}, "layer 'conv 3 5x3' is not one of"),
        ({"layers": ["conv 3 9x9"]}, "meets an image of 8x8, smaller than its kernel"),
        ({"layers": ["linear 3", "conv 2"]}, "layer 2 ('conv 2') of [linear 3, conv 2] follows"),
        ({"layers": ["pool"] * 4}, "layer 4 ('pool') of [pool, pool, pool, pool] meets"),
        ({"normalise": [1]}, "normalise = [1.0]: must be a mean and a positive standard"),
        ({"normalise": [0, 0]}, "normalise = [0.0, 0.0]: must be a mean and a positive standard"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, said):
    with pytest.raises(VolumetryError, match=re.escape(said)) as caught:
        resolved(with_real(changes))
    assert str(caught.value).startswith("architectures.real") and "\n" not in str(caught.value)


def test_a_sampler_of_binary_weights_is_refused():
    with pytest.raises(VolumetryError, match="enumerate: it knows binary weights alone") as caught:
        resolved(with_real(samplers=("gd", "enumerate")))
    assert "gd, sgd, sam, guess_and_check, rewl, population_annealing, joint" in str(caught.value)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Runs of every sampler that knows real weights, beside a binary network."""
    folder = tmp_path_factory.mktemp("real")
    spec = {"source": "digits", "classes": [0, 7], "n": [4, 8]}
    dataset = dataset_to_xarray(datasets.load(spec), spec)
    netcdf.write(dataset, folder / "dataset.nc")
    subset = draw_subset_of(dataset, n_validation=20, label_noise=0.0, seed=3)
    netcdf.write(subset, folder / "subset.nc")
    settings = {
        "gd": {"learning_rate": 1e-2, "networks": 2, "extra_epochs": 10},
        "sgd": {"learning_rate": 1e-2, "networks": 2, "extra_epochs": 10},
        "sam": {"learning_rate": 1e-2, "networks": 2, "extra_epochs": 10, "rho": 0.05},
        "guess_and_check": {"hits": 60},
        "rewl": {"accuracy_error": 0.02},
        "population_annealing": {"members": 100, "rung_sweeps": 4.0, "guides": 1},
        "joint": {"members": 50, "rung_sweeps": 2.0, "guides": 1, "tail_error": 0.5},
    }
    architectures = {
        "real": REAL | {"scale": "kaiming", "biases": True, "activation": "tanh"},
        "binary": {"layers": ["linear 4"]},
    }
    for name, architecture in architectures.items():
        for n in (4, 8):
            for sampler, parameters in settings.items():
                if name == "binary" and sampler in ("rewl", "joint"):
                    continue  # others test these
                method = METHODS[sampler]
                task = Task(
                    module=method.module,
                    parameters=parameters,
                    seed=n,
                    architecture=architecture,
                    code_digest="",
                    packages={"cpu": []},
                    parameters_class=method.parameters,
                )
                cell = {
                    "dataset": "digits",
                    "architecture": name,
                    "n": n,
                    "replicate": 0,
                    "sampler": sampler,
                }
                sources = [folder / f"{name}-{n}-{each}.nc" for each in method.starts_from]
                given = folder / "dataset.nc", folder / "subset.nc", cell, task
                result = run_job(*given, source_paths=sources)
                netcdf.write(result, folder / f"{name}-{n}-{sampler}.nc")
    return folder, aggregate(sorted(map(str, folder.glob("*-*.nc"))), datasets=["digits"])


@pytest.mark.slow
def test_samplers_agree_about_real_weights(study):
    """Guess & Check and the volume samplers: ln V within three of their errors."""
    _, found = study
    real = found.sel(dataset="digits", architecture="real", replicate=0)
    assert (real.converged == 1).all(), real.verdict.values
    guessed = real.sel(sampler="guess_and_check")
    for sampler in ("rewl", "population_annealing", "joint"):
        other = real.sel(sampler=sampler)
        off = guessed.log_volume - other.log_volume
        assert (abs(off) < 3 * np.hypot(guessed.log_volume_stderr, other.log_volume_stderr)).all()
    assert (real.test_accuracy > 0.6).all()


@pytest.mark.slow
def test_the_joint_density_is_one_over_the_whole_prior(study):
    """Not over 2^M: near A = n, where it is known, it is what ln V says."""
    _, found = study
    real = found.sel(dataset="digits", architecture="real", replicate=0, n=8)
    fits = real.log_p_joint.sel(A=8)
    share = np.trapezoid(np.exp(fits.fillna(-np.inf)), fits[fits.dims[-1]])
    assert np.log(share) == pytest.approx(float(real.log_volume.sel(sampler="joint")), abs=1.0)


@pytest.mark.slow
def test_weights_that_are_kept_fit(study):
    folder, _ = study
    for name in ("gd", "sam"):
        kept = netcdf.read(folder / f"real-8-{name}.nc")
        assert json.loads(kept.attrs["weights"])["activation"] == "tanh"
        weights = np.ascontiguousarray(kept["weights"].values).view(np.float32)
        assert weights.shape == (2, 4 * 65 + 2 * 5) and np.isfinite(weights).all()
        assert (kept["fitted"] == 1).all()


@pytest.mark.slow
def test_the_report_says_what_weights_are(study):
    _, found = study
    assert json.loads(found["weights"].sel(architecture="real").item())["weights"] == "gaussian"
    page = render(found, None, "seed: 0\n")
    assert "gaussian weights (scale kaiming, biases, tanh)" in page
