"""One sampler job of a study: from the files it reads to the result it writes."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import xarray as xr

from volumetry.datasets.matrix_sensing import Options
from volumetry.datasets.storage import sensed
from volumetry.networks.fit import BINARY, fit, weights_of
from volumetry.parameters import stopping
from volumetry.runtime import netcdf
from volumetry.runtime.checkpoint import Checkpoint, digest, watch
from volumetry.runtime.device import choose
from volumetry.runtime.joblog import write_cost
from volumetry.runtime.progress import say
from volumetry.runtime.provenance import provenance, versions
from volumetry.systems.classification import Problem
from volumetry.systems.sensing import SensingProblem


@dataclass(frozen=True)
class Task:
    """What decides the result of a job, beside the files it reads.

    Attributes:
        module: the sampler's module, by name: were it imported here, a change of one sampler would
            concern the results of all.
        parameters: every parameter of the sampler.
        seed: of the job.
        architecture: as ``networks.fit.complete`` leaves it.
        code_digest: what the code that makes the result hashes to.
        packages: for each device, the packages that this code names (``provenance.packages``).
        parameters_class: the name of the sampler's dataclass of parameters.
        devices: those that the sampler can compute on.
    """

    module: str
    parameters: Mapping
    seed: int
    architecture: Mapping
    code_digest: str
    packages: Mapping[str, Sequence[str]]
    parameters_class: str = "Parameters"
    devices: Sequence[str] = ("cpu",)


def run_job(
    dataset_path: str | os.PathLike,
    subset_path: str | os.PathLike,
    cell: dict,
    task: Task,
    *,
    threads: int = 1,
    device: str = "cpu",
    source_paths: Sequence[str | os.PathLike] = (),
    checkpoint_path: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
    cost_path: str | os.PathLike | None = None,
) -> xr.Dataset:
    """Run one sampler on one training subset.

    Args:
        dataset_path, subset_path: files of ``datasets.storage``.
        cell: ``dataset``, ``architecture``, ``n``, ``replicate`` and ``sampler`` of the job.
        task: what to run on them.
        threads: how many the sampler may use; the result does not depend on it.
        device: auto, cpu or cuda; a sampler that knows the CPU alone takes the CPU.
        source_paths: results of other samplers on the same subset that this one starts from.
        checkpoint_path: where to keep what is done, and to go on from; the result depends neither
            on it nor on how often. With a path, the main thread has to call, and a signal of
            ``checkpoint.SIGNALS`` ends the process.
        checkpoint_seconds: between two writings.
        cost_path: where to say what the run took, parts kept by earlier processes included.

    Returns:
        The sampler's result, with attributes that say where it comes from.

    Raises:
        CheckpointError: another process is computing the same.
        ConfigError: the device is not there.
        NetworkError: the sums of the network could overflow on this dataset.
    """
    sampler = import_module(task.module)
    problem, label_noise = load_problem(dataset_path, subset_path, task.architecture, cell["n"])
    settings = getattr(sampler, task.parameters_class)(**task.parameters)
    sources = [netcdf.read(path) for path in source_paths]
    given = {"sources": {source.attrs["sampler"]: source for source in sources}} if sources else {}
    walkers = getattr(settings, "walkers", 0)
    device = choose(device, walkers) if len(task.devices) > 1 else "cpu"
    if device != "cpu":
        given["device"] = device
    key = _key(problem, task, settings, device, source_paths)
    with Checkpoint(checkpoint_path, key, checkpoint_seconds) as checkpoint:
        if checkpoint_path is not None:
            watch(checkpoint)
        given["checkpoint"] = checkpoint
        place = ", ".join(f"{name} {value}" for name, value in cell.items())
        say(f"{place}: seed {task.seed}, {device}, threads {threads}")
        result = sampler.run(problem, settings, task.seed, threads=threads, **given)
    say(f"{result.attrs['verdict']}; {checkpoint.spent:.1f} s")
    if cost_path is not None:
        write_cost(cost_path, checkpoint.spent)
    layers, classified = task.architecture["layers"], isinstance(problem, Problem)
    if weights_of(task.architecture) != BINARY:
        weights = {key: value for key, value in task.architecture.items() if key != "layers"}
        result.attrs["weights"] = json.dumps(weights)
    return result.assign_attrs(
        title="Volumetry run of one sampler on one training subset",
        Conventions="CF-1.11",
        **{
            name: np.int64(value) if isinstance(value, int) else value
            for name, value in cell.items()
        },
        seed=np.int64(task.seed),
        layers=json.dumps(layers),
        n_weights=np.int64(problem.network.n_weights),
        **({"n_classes": np.int64(problem.network.n_classes)} if classified else {}),
        n_test=np.int64(problem.n_test),
        label_noise=label_noise,
        parameters=json.dumps(task.parameters),
        device=device,
        **provenance(task.code_digest, task.packages[device]),
    )


def _key(problem: Problem | SensingProblem, task: Task, settings, device: str, source_paths) -> str:
    """What the steps of a job depend on; not what only decides how many of them there are."""
    only_stop = stopping(type(settings))
    asked = {name: value for name, value in asdict(settings).items() if name not in only_stop}
    return digest(
        type(settings).__name__,
        task.architecture,
        asked,
        task.seed,
        device,
        task.code_digest,
        versions(task.packages[device]),
        [Path(path).read_bytes() for path in source_paths],
        [value for value in vars(problem).values() if isinstance(value, np.ndarray | float)],
    )


def load_problem(
    dataset_path: str | os.PathLike, subset_path: str | os.PathLike, architecture: Mapping, n: int
) -> tuple[Problem | SensingProblem, float]:
    """The problem that D_n of a subset file poses, and the fraction of its labels redrawn."""
    dataset, subset = netcdf.read(dataset_path), netcdf.read(subset_path)
    label_noise = float(subset.attrs["label_noise"])
    if (options := sensed(dataset)) is not None:
        return _sensing_problem(options, subset, architecture, n), label_noise
    x_pool, x_test = dataset["x_pool"].values, dataset["x_test"].values
    order, validation = subset["order"].values[:n], subset["validation"].values
    about = int(dataset.attrs["n_classes"]), int(dataset.attrs["input_bound"])
    network = fit(architecture, x_pool.shape[1:], *about)
    problem = Problem(
        network=network,
        x_train=x_pool[order],
        y_train=subset["label"].values[:n],
        x_test=x_test,
        y_test=dataset["y_test"].values,
        x_validation=x_pool[validation],
        y_validation=subset["validation_label"].values,
    )
    return problem, label_noise


def _sensing_problem(
    options: Options, subset: xr.Dataset, architecture: Mapping, n: int
) -> SensingProblem:
    network = fit(architecture, options.input_shape, options.n_outputs, options.input_bound)
    truth, matrices = subset["truth"].values, subset["matrices"].values[:n]
    norm = float(np.linalg.norm(truth)) if options.normalised else 0.0
    problem = SensingProblem.of(network, truth, matrices, options.epsilon, norm)
    problem.check_prior()
    return problem
