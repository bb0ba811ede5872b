"""The same volumes measured over and over: what error bars say against how runs scatter.

    python tests/repeated_runs.py docs/repeated_runs.csv [--data FOLDER] [--only TEXT]

adds the runs that the file does not have yet, a row each, most wanted first. That takes hours, and
can be stopped at any time: a run goes on from its checkpoint, next to the file. Started twice, it
shares the runs. MNIST is looked for in ``--data``.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import yaml

from volumetry import datasets
from volumetry.datasets.subsets import draw_order
from volumetry.networks.architecture import build_network
from volumetry.runtime.checkpoint import Checkpoint, CheckpointError, digest
from volumetry.runtime.provenance import code_digest
from volumetry.study.registry import METHODS
from volumetry.systems.classification import Problem

DEFAULT_STUDY = yaml.safe_load(
    (Path(__file__).parents[1] / "config" / "config.yaml").read_text(encoding="utf-8")
)["samplers"]
PRECISE = {"ln_v_error": 0.005, "accuracy_error": 0.005}
TRAINED = {"learning_rate": 1e-3, "networks": 3, "selection": "final"}
TAILS = {"rung_sweeps": 1, "max_anneals": 6, "tail_error": 1.0}
PA, REWL, JOINT = "population_annealing", "rewl", "joint"
SETTINGS = {
    "default study": DEFAULT_STUDY,
    "precise": {"rewl": PRECISE, "population_annealing": PRECISE},
    "precise, 50 members": {"population_annealing": PRECISE | {"members": 50, "guides": 4}},
    # No other error than that of the populations' own spread: they are what is compared with.
    "long": {
        "rewl": {"ln_v_error": 1e-4, "max_blocks": 1200},
        "population_annealing": {
            "members": 400,
            "rung_sweeps": 3,
            "ln_v_error": 1e-4,
            "max_anneals": 4,
        },
    },
    "tails": {"gd": TRAINED, "joint": TAILS},
    "tails, half a sweep": {"gd": TRAINED, "joint": TAILS | {"rung_sweeps": 0.5}},
}
SUBSETS = (1, 2, 3)
CELLS = [
    *(("digits", 100, k, PA, "long", 0) for k in SUBSETS),
    *(("digits", 160, k, PA, "default study", s) for s in range(24) for k in SUBSETS),
    *(("mnist", 100, 1, PA, "precise", s) for s in range(6)),
    *(("mnist", 300, 1, PA, "precise, 50 members", s) for s in range(6)),
    *(("digits", 160, k, PA, "long", 0) for k in SUBSETS),
    *(("digits", n, 1, JOINT, "tails", 0) for n in (10, 40, 160)),
    *(("mnist", n, 1, JOINT, "tails, half a sweep", 0) for n in (30, 100)),
    ("mnist", 300, 1, JOINT, "tails", 0),
    *(("mnist", 100, 1, REWL, "precise", s) for s in range(6)),
    *(("digits", 160, k, REWL, "default study", s) for s in range(24) for k in SUBSETS),
    *(("mnist", 300, 1, REWL, "precise", s) for s in range(6)),
    *(("digits", 160, k, REWL, "long", 0) for k in SUBSETS),
]
CELL = ("dataset", "n", "subset", "sampler", "settings", "seed")
MEASURED = [
    f"{name}{part}" for name in ("log_volume", "test_accuracy") for part in ("", "_stderr", "_df")
]
TAIL = ["tail_log_volume", "tail_log_volume_stderr"]  # of GD's networks, means
COLUMNS = (*CELL, *MEASURED, *TAIL, "converged", "core_seconds", "verdict")


def pose(dataset: str, n: int, subset: int, data_dir: str | None, tests: int) -> Problem:
    """``simple_cnn`` on a training set of a dataset, with so many test examples at most."""
    loaded = datasets.load({"source": dataset}, data_dir)
    rng = np.random.default_rng(subset)
    order = draw_order(loaded.y_pool, loaded.n_classes, rng)[:n]
    shape = loaded.x_pool.shape[1:]
    network = build_network("simple_cnn", shape, loaded.n_classes, loaded.input_bound)
    return Problem(
        network,
        loaded.x_pool[order],
        loaded.y_pool[order],
        loaded.x_test[:tests],
        loaded.y_test[:tests],
        loaded.x_pool[:0],
        loaded.y_pool[:0],
    )


def measure(cell: tuple, data_dir: str | None, checkpoint: Checkpoint) -> dict:
    """One row."""
    dataset, n, subset, sampler, settings, seed = cell
    # Every move of joint looks at the test examples.
    tests = 500 if (dataset, sampler) == ("mnist", JOINT) else 2000
    problem = pose(dataset, n, subset, data_dir, tests)

    def run(name: str, **more):
        parameters, of_sampler = METHODS[name].load()
        return of_sampler(problem, parameters(**SETTINGS[settings][name]), seed, **more)

    more = {"sources": {"gd": run("gd")}} if sampler == JOINT else {}
    resumed, start = bool(checkpoint.state), time.process_time()
    result = run(sampler, checkpoint=checkpoint, **more)
    seconds = time.process_time() - start
    measured = MEASURED + (TAIL if sampler == JOINT else [])
    row = dict(zip(CELL, cell)) | {name: f"{float(result[name].mean()):.6g}" for name in measured}
    return row | {
        "converged": int(result.converged),
        "core_seconds": "" if resumed else round(seconds),
        "verdict": result.attrs["verdict"],
    }


def add(cell: tuple, file: Path, data_dir: str | None) -> None:
    """One row more, unless another process is at it."""
    *_, sampler, settings, _ = cell
    name, (_, of_sampler) = "-".join(map(str, cell)).replace(" ", "_"), METHODS[sampler].load()
    place = file.with_suffix(".checkpoints") / name
    key = digest(cell, SETTINGS[settings], code_digest(of_sampler.__module__))
    try:
        with Checkpoint(place, key) as checkpoint:
            row = measure(cell, data_dir, checkpoint)
            with file.open("a", encoding="utf-8", newline="") as lines:
                csv.DictWriter(lines, COLUMNS, lineterminator="\n").writerow(row)
    except CheckpointError:
        return
    print(*row.values(), flush=True)
    for left in place.parent.glob(f"{name}.*"):
        left.unlink()


def main() -> None:
    """Fill the file."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("file", type=Path)
    asked.add_argument("--data", help="folder with the files of MNIST")
    asked.add_argument("--only", default="", help="cells with this text alone")
    given = asked.parse_args()
    if not given.file.exists():
        given.file.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for cell in CELLS:
        with given.file.open(encoding="utf-8", newline="") as lines:
            known = {tuple(row[name] for name in CELL) for row in csv.DictReader(lines)}
        name = tuple(map(str, cell))
        if name not in known and given.only in " ".join(name):
            add(cell, given.file, given.data)


if __name__ == "__main__":
    main()
