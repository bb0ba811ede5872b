"""The tables of the benchmark, for its page and for documents.

    python -m volumetry.report.benchmark_tables results/benchmark.nc README.md docs/speed.md

puts the tables of a run into documents, each between ``<!-- table: NAME -->`` and
``<!-- end -->``.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from volumetry.runtime import markdown, netcdf


class Table(NamedTuple):
    """A table of text.

    Attributes:
        header: names of the columns.
        rows: cells; as many in each as in the header.
        words: how many columns from the left hold words; the others hold numbers.
    """

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int


def figure(value: float) -> str:
    """A number to three digits."""
    digits = 2 - int(np.floor(np.log10(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def median(array: xr.DataArray) -> float:
    """The median of all values."""
    return float(array.median())


def spread(array: xr.DataArray) -> str:
    """Median of the repetitions, with the least and the largest."""
    return f"{figure(median(array))} [{figure(float(array.min()))}, {figure(float(array.max()))}]"


def reference(result: xr.Dataset) -> xr.Dataset:
    """The moves that are quoted: of the first architecture at n = 600, or at the largest n."""
    sizes = result["n"].values
    n = 600 if 600 in sizes else sizes.max()
    return result.sel(n=n).isel(architecture=0)


def summary(result: xr.Dataset) -> Table:
    """Speed and ratio to the baselines, the shortest there is."""
    cell = reference(result)
    rows = []
    for examples in result["examples"].values:
        part = cell.sel(examples=examples)
        plain = part.sel(baseline_threads="one thread")
        tested = f"N = {result.attrs['n_test']:,} test examples at every move"
        rows.append(
            (
                f"moves, one core, {part['architecture'].item()}, n = {part['n'].item()}, "
                + ("training set alone" if examples == "training" else tested),
                figure(median(part["moves_per_second"])),
                figure(median(plain["baseline_moves_per_second"])),
                figure(plain["move_speedup"].item()),
            )
        )
    for _, part in _cells(result.isel(side=-1), "classes", "guess_n"):
        if part["guess_n"].item() == result["guess_n"].values[-1]:
            side, classes, n = (part[name].item() for name in ("side", "classes", "guess_n"))
            rows.append(
                (
                    f"guesses, all cores, {side}x{side} images, {classes} classes, n = {n}",
                    figure(median(part["guesses_per_second"])),
                    figure(median(part["baseline_guesses_per_second"])),
                    figure(part["guess_speedup"].item()),
                )
            )
    return Table(("per second", "Volumetry", "plain torch", "ratio"), rows, 1)


def moves(result: xr.Dataset) -> Table:
    """Moves a second of the engine and of the baseline on one and all threads, and ratios."""
    rows = []
    for place, part in _cells(result, "examples", "architecture", "n"):
        plain = [part.sel(baseline_threads=t) for t in result["baseline_threads"].values]
        rows.append(
            (
                *place,
                spread(part["moves_per_second"]),
                *(spread(p["baseline_moves_per_second"]) for p in plain),
                *(figure(p["move_speedup"].item()) for p in plain),
            )
        )
    header = ("examples", "architecture", "n", "engine, one core", "torch, one thread")
    return Table((*header, "torch, all threads", "ratio", "ratio, all threads"), rows, 2)


def limits(result: xr.Dataset) -> Table:
    """Bytes and operations of a move, least and measured time."""
    rows = [
        (
            *place,
            figure(part["typical_move_bytes"].item() / 1e3),
            figure(part["move_bytes"].item() / 1e3),
            figure(part["move_operations"].item() / 1e3),
            figure(part["move_limit_seconds"].item() * 1e6),
            figure(1e6 / median(part["moves_per_second"])),
            f"{part['fraction_of_limit'].item():.0%}",
            f"{part['convolution_share'].item():.0%}",
        )
        for place, part in _cells(result, "examples", "architecture", "n")
    ]
    header = ("examples", "architecture", "n", "typical (KB)", "mean (KB)", "1000 operations")
    return Table((*header, "least (µs)", "measured (µs)", "of the limit", "convolutions"), rows, 2)


def real(result: xr.Dataset) -> Table:
    """Moves a second of real weights, beside binary ones and a full forward pass."""
    rows = []
    for place, part in _cells(result, "units", "real_n"):
        speeds = [part[f"{kind}_moves_per_second"] for kind in ("real", "binary", "torch")]
        own, *others = (median(speed) for speed in speeds)
        ratios = figure(others[0] / own), figure(own / others[1])
        rows.append((*place, *map(spread, speeds), *ratios))
    header = ("hidden units", "n", "real weights", "binary weights", "real weights in torch")
    return Table((*header, "binary over real", "real over torch"), rows, 0)


def guesses(result: xr.Dataset) -> Table:
    """Guesses a second of the sampler and of the baseline."""
    rows = [
        (
            *place,
            spread(part["guesses_per_second"]),
            spread(part["baseline_guesses_per_second"]),
            str(part["baseline_batch"].item()),
            figure(part["guess_speedup"].item()),
        )
        for place, part in _cells(result, "side", "classes", "guess_n")
    ]
    header = ("image side", "classes", "n", "guess_and_check", "torch", "its batch", "ratio")
    return Table(header, rows, 0)


def training(result: xr.Dataset) -> Table:
    """Network-epochs a second of networks together and one at a time."""
    rows = []
    for place, part in _cells(result, "method", "train_side"):
        together, alone = part["network_epochs_per_second"]
        ratio = figure(median(together) / median(alone))
        rows.append((*place, spread(together), spread(alone), ratio))
    return Table(("method", "image side", "together", "one at a time", "ratio"), rows, 1)


def start_up(result: xr.Dataset) -> Table:
    """Seconds until a job is done that is next to nothing."""
    rows = [
        (
            *place,
            *(figure(median(seconds)) for seconds in part["start_seconds"]),
            figure(part["compile_start_seconds"].item()),
        )
        for place, part in _cells(result, "job")
    ]
    return Table(("job", *result["stage"].values, "small job, kernels compiled"), rows, 1)


def scaling(result: xr.Dataset) -> Table:
    """How much a move's cost grows along each axis."""
    rows = []
    for axis, name in SCALES.items():
        values = result[axis].values
        cost = result[f"move_seconds_by_{name}"].median("repetition").values
        rows.append(
            (
                result[axis].attrs["long_name"],
                f"{values[0]:,} to {values[-1]:,}",
                figure(values[-1] / values[0]),
                f"{figure(cost[0] * 1e6)} to {figure(cost[-1] * 1e6)}",
                figure(cost[-1] / cost[0]),
            )
        )
    return Table(("what grows", "from", "times", "a move (µs)", "times"), rows, 1)


def machine(result: xr.Dataset) -> Table:
    """What it was measured on."""
    attributes = result.attrs
    versions = json.loads(attributes["versions"])
    rows = {
        "processor": f"{attributes['processor']}, {attributes['instructions']}",
        "cores": f"{attributes['cores']}, of which {attributes['threads']} used",
        "memory": f"{attributes['memory_gb']} GB",
        "load before": str(attributes["load"]),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items()),
        "volumetry": f"{attributes['volumetry_version']} {attributes.get('commit', '')}".strip(),
        "date": attributes["date"],
        "design": f"{attributes['design']}, {result.sizes['repetition']} repetitions",
    }
    return Table(("measured on", ""), list(rows.items()), 2)


SCALES = {"scale_n": "n", "scale_n_test": "n_test", "width": "width", "depth": "depth"}
"""What the cost of a move is followed over, and how its variable is called."""

TABLES: dict[str, Callable[[xr.Dataset], Table]] = {
    table.__name__: table
    for table in (summary, moves, limits, scaling, real, guesses, training, start_up, machine)
}
"""The tables by name."""


def _cells(result: xr.Dataset, *dims: str) -> Iterator[tuple[tuple[str, ...], xr.Dataset]]:
    """(values of ``dims`` as text), part for each combination of them."""
    for index in np.ndindex(*(result.sizes[dim] for dim in dims)):
        part = result.isel(dict(zip(dims, index)))
        yield tuple(str(part[dim].item()) for dim in dims), part


def refresh(text: str, result: xr.Dataset) -> str:
    """A document with its marked tables replaced by those of ``result``."""
    return markdown.refresh(text, lambda name: markdown.table(*TABLES[name](result)))


if __name__ == "__main__":
    measured = netcdf.read(sys.argv[1])
    for path in map(Path, sys.argv[2:]):
        path.write_text(refresh(path.read_text(encoding="utf-8"), measured), encoding="utf-8")
