"""Files of runs with known numbers, and what is asked of the studies made of them."""

import json

import numpy as np
from made_studies import networks
from scipy.special import expit, logit

from volumetry.methods.result import common_result
from volumetry.runtime import netcdf

T2, T1, Z = 4.302652729749462, 12.706204736174694, 1.959963984540054  # 97.5 % quantiles
T3 = 3.182446305284263


def write_run(
    folder,
    sampler,
    n,
    replicate,
    *,
    dataset="digits",
    architecture="simple_cnn",
    extra=None,
    parameters=None,
    **numbers,
):
    """One run file with the attributes of the workflow; the path it was written to."""
    numbers = {"converged": True, "verdict": "fine"} | numbers
    run = common_result(**numbers).assign(extra or {})
    run.attrs |= {
        "dataset": dataset,
        "architecture": architecture,
        "n": n,
        "replicate": replicate,
        "sampler": sampler,
        "seed": 2**62 + replicate,
        "parameters": json.dumps(parameters or {"budget": 5}),
        "layers": json.dumps(["linear 4"]),
        "n_weights": 296,
        "n_test": 1000,
        "volumetry_version": "0.1.0",
        "title": "a run",
        "Conventions": "CF-1.11",
    }
    path = folder / f"{dataset}-{architecture}-{n}-{replicate}-{sampler}.nc"
    netcdf.write(run, path)
    return path


def accuracies(folder, sampler, table, **numbers):
    """Runs of one sampler with test accuracies {n: [one for each replicate]}."""
    return [
        write_run(folder, sampler, n, r, test_accuracy=q, test_accuracy_stderr=0.01, **numbers)
        for n, row in table.items()
        for r, q in enumerate(row)
    ]


def trained(folder, table):
    """Runs of gd: {n: [(accuracies of its networks at first fit, final, best), ...]}."""
    return [
        write_run(
            folder,
            "gd",
            n,
            replicate,
            extra=networks(*states),
            test_accuracy=np.mean(states[2]),
            parameters={"selection": "best_validation"},
        )
        for n, row in table.items()
        for replicate, states in enumerate(row)
    ]


def bounded(mean, half, low=0.0, high=1.0):
    """Ends of mean +- half on the logit scale of a range."""
    place, width = (mean - low) / (high - low), high - low
    spread = half / width / (place * (1 - place))
    return [low + width * expit(logit(place) + sign * spread) for sign in (-1, 1)]


def cell(study, variable, **where):
    where = {"dataset": "digits", "architecture": "simple_cnn"} | where
    return study[variable].sel({k: v for k, v in where.items() if k in study[variable].dims}).item()
