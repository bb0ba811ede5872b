"""Studies made up of runs with known numbers."""

import json

import numpy as np

from volumetry.methods.result import SELECTIONS, common_result
from volumetry.results.aggregate import aggregate
from volumetry.results.roles import TRAINED
from volumetry.runtime import netcdf

ARRAYS = ("hits", "fitted", "test_counts", "exchange_acceptance", "ln_f", "lineages")
"""Numbers of a run that are not common to all samplers."""

GD = {10: [0.60, 0.62], 40: [0.70, 0.71]}
REWL = {10: [0.40, 0.42], 40: [0.66, 0.67]}


def study_of(folder, *runs):
    """A study of (sampler, {n: accuracies by replicate}, other numbers or extra variables)."""
    folder.mkdir(exist_ok=True)
    files = []
    for dataset, architecture, sampler, table, numbers in runs:
        for n, row in table.items():
            for replicate, accuracy in enumerate(row):
                common = {"test_accuracy": accuracy, "test_accuracy_stderr": 0.01}
                common |= {"converged": True, "verdict": "every criterion met"}
                extra = {k: v for k, v in numbers.items() if k in ARRAYS}
                if sampler in TRAINED and "fitted" not in extra:
                    extra |= networks(*_states(n, accuracy, numbers.get("first_fit", {})))
                common |= {k: v for k, v in numbers.items() if k not in {*extra, "first_fit"}}
                common |= {k: v(n) for k, v in common.items() if callable(v)}
                run = common_result(**common).assign(extra)
                run.attrs |= {"dataset": dataset, "architecture": architecture, "n": n}
                run.attrs |= {"replicate": replicate, "sampler": sampler, "seed": 1}
                run.attrs |= {"layers": '["conv 6", "pool"]', "n_weights": 123456}
                parameters = {"selection": "best_validation", "extra_epochs": 100}
                parameters = parameters if sampler in TRAINED else {"flatness": 0.8}
                run.attrs |= {"parameters": json.dumps(parameters), "commit": "<abc>"}
                run.attrs["n_test"] = 1000
                files.append(folder / f"{len(files)}.nc")
                netcdf.write(run, files[-1])
    return aggregate(files)


def _states(n, accuracy, first_fit):
    """Two networks, a hundredth apart, that are the same at every selection but the first fit."""
    apart = np.array([-0.005, 0.005])
    later = accuracy + apart
    early = first_fit.get(n, accuracy) + apart
    return early, later, later, {0: early, 1: later, 3: later}


def run(sampler, table, dataset="digits", architecture="simple_cnn", **numbers):
    return dataset, architecture, sampler, table, numbers


def rewl(table=REWL, **numbers):
    """A volume that shrinks as fast as the accuracy says: -ln Qr is 0.9 to 0.4."""
    fall = {"log_volume": lambda n: 1.0 - 0.6 * n, "log_volume_stderr": 0.1}
    return run("rewl", table, **fall, **numbers)


def networks(first_fit, final, best_validation, after_fit=None):
    """Extra variables of a run: the test accuracies of each network at each selection, and
    {epochs after the first fit: those of each network}."""
    accuracies = dict(zip(SELECTIONS, (first_fit, final, best_validation)))
    after_fit = {0: first_fit} if after_fit is None else after_fit
    found = {f"test_accuracy_{s}": ("network", np.array(a)) for s, a in accuracies.items()}
    return found | {
        "fitted": ("network", np.isfinite(first_fit).astype(np.int8)),
        "epochs_after_fit": ("epochs_after_fit", np.array(list(after_fit))),
        "test_accuracy_after_fit": (
            ("network", "epochs_after_fit"),
            np.array(list(after_fit.values())).T,
        ),
    }
