"""A study as tables for a spreadsheet: a row a run, a row a trained network, and what columns mean.

They hold what runs gave, before any mean over replicates, and what they took.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from volumetry.methods.result import OF_LOSS
from volumetry.results.run_files import CELL_VARIABLES, DIMS
from volumetry.runtime.files import replacing

NAMES = ("runs.csv", "networks.csv", "columns.csv")

_OF_RUNS = ("seed", *CELL_VARIABLES, *OF_LOSS, "advantage_replicate", "verdict")
_OF_NETWORKS = {"network_accuracy": "test_accuracy", "network_rank": "rank"}
_COSTS = {
    "seconds": ("wall-clock time of the run", "s"),
    "max_rss_mb": ("most memory that its process had", "MB"),
}
_KEYS = {
    "reference": ("sampler whose interpolators the run is compared with", ""),
    "network": ("number of the network in its run", "1"),
}


def write_tables(study: xr.Dataset, seconds: Iterable[Mapping], folder: str | os.PathLike) -> None:
    """Write the files ``NAMES`` into a folder; each appears whole or not at all.

    Args:
        study: what ``aggregate`` returns.
        seconds: rows of ``results.seconds``.
    """
    costs = {tuple(row[dim] for dim in DIMS): row for row in seconds}
    tables = list(_runs(study, costs)), list(_networks(study)), list(_columns(study))
    for name, (header, *rows) in zip(NAMES, tables):
        with replacing(Path(folder) / name) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _cells(study: xr.Dataset) -> Iterator[tuple[tuple, tuple[int, ...]]]:
    """(values of the dimensions, indices) of each run that the study has."""
    for at in zip(*np.nonzero(study["converged"].transpose(*DIMS).notnull().values)):
        yield tuple(study[dim].values[i].item() for dim, i in zip(DIMS, at)), at


def _runs(study: xr.Dataset, costs: Mapping[tuple, Mapping]) -> Iterator[list]:
    values = {name: study[name].transpose(*DIMS).values for name in _OF_RUNS if name in study}
    reference = study["reference"].transpose(*DIMS[:4]).values
    integers = {name for name in values if _whole(study[name])}
    yield [*DIMS, "reference", *values, *_COSTS]
    for cell, at in _cells(study):
        cost = costs.get(cell, {})
        numbers = (_text(each[at], name in integers) for name, each in values.items())
        yield [*cell, reference[at[:4]], *numbers, *(cost.get(name, "") for name in _COSTS)]


def _networks(study: xr.Dataset) -> Iterator[list]:
    known = {new: study[name] for name, new in _OF_NETWORKS.items() if name in study}
    protocols = study["protocol"].values if known else []
    yield [*DIMS, "network", *(f"{name}_{each}" for name in known for each in protocols)]
    if not known:
        return
    values = np.concatenate(
        [each.transpose(*DIMS, "network", "protocol").values for each in known.values()], axis=-1
    )
    for cell, at in _cells(study):
        for network in range(int(np.nan_to_num(study["n_networks"].transpose(*DIMS).values[at]))):
            yield [*cell, network, *(_text(each, False) for each in values[at][network])]


def _columns(study: xr.Dataset) -> Iterator[list]:
    """Of each column: file, name, unit, meaning."""
    yield ["file", "column", "unit", "meaning"]
    of_runs = [*DIMS, "reference", *(name for name in _OF_RUNS if name in study), *_COSTS]
    for name in of_runs:
        meaning, unit = _COSTS.get(name) or _KEYS.get(name) or _about(study[name])
        yield [NAMES[0], name, unit, meaning]
    for name in (*DIMS, "network"):
        yield [NAMES[1], name, *reversed(_KEYS.get(name) or _about(study[name]))]
    for name, new in _OF_NETWORKS.items():
        for protocol in study["protocol"].values if name in study else ():
            meaning, unit = _about(study[name])
            yield [NAMES[1], f"{new}_{protocol}", unit, f"{meaning}, state: {protocol}"]


def _about(variable: xr.DataArray) -> tuple[str, str]:
    attrs = variable.attrs
    if "flag_meanings" in attrs:
        return attrs["long_name"], "0 = no, 1 = yes"
    return attrs["long_name"], attrs.get("units", "")


def _whole(variable: xr.DataArray) -> bool:
    return "flag_values" in variable.attrs or variable.attrs.get("units") == "count"


def _text(value, whole: bool) -> str:
    """A number as it is, nothing for NaN."""
    if isinstance(value, str):
        return value
    if np.isnan(value):
        return ""
    return str(int(value)) if whole or isinstance(value, np.integer) else f"{value:.9g}"
