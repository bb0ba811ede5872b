"""Run time and memory of the jobs, from Snakemake's benchmark files.

Kept apart from the study itself, whose bytes are reproducible; these never are. A job that resumed
from a checkpoint counts only its last attempt.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from volumetry.errors import DataError
from volumetry.files import replacing

COLUMNS = ("dataset", "architecture", "n", "replicate", "sampler", "seconds", "max_rss_mb")
"""The cell of the run, its wall-clock seconds, its largest resident memory in MB (may be NaN)."""

_CELL = re.compile(
    r"(?:^|/)(?P<dataset>[^/]+)/(?P<architecture>[^/]+)/n(?P<n>\d+)/r(?P<replicate>\d+)"
    r"/(?P<sampler>[^/]+)\.tsv$"
)
_TYPES = {"n": int, "replicate": int, "seconds": float, "max_rss_mb": float}


def collect(benchmark_files: Iterable[str | os.PathLike]) -> Iterator[dict]:
    """Read benchmark files named ``.../{dataset}/{architecture}/n{n}/r{replicate}/{sampler}.tsv``.

    Yields:
        One row of ``COLUMNS`` for each file that exists, in the order given: a time that was lost
        is no reason to run again.

    Raises:
        DataError: a file is not named so, or is not a benchmark table.
    """
    return (_row(Path(path)) for path in benchmark_files if Path(path).exists())


def _row(path: Path) -> dict:
    cell = _CELL.search(path.as_posix())
    if cell is None:
        form = "{dataset}/{architecture}/n{n}/r{replicate}/{sampler}.tsv"
        raise DataError(f"{path}: not a benchmark file of a run; its path must end in {form}")
    with path.open(newline="") as lines:
        measured = list(csv.DictReader(lines, delimiter="\t"))
    if not measured or "s" not in measured[-1]:
        raise DataError(f"{path}: not a benchmark table of Snakemake; delete it")
    # A job too short to be observed has '-' or 'NA' for its memory.
    memory = measured[-1].get("max_rss") or "nan"
    return _typed(
        cell.groupdict()
        | {
            "seconds": measured[-1]["s"],
            "max_rss_mb": memory if re.fullmatch(r"[\d.]+", memory) else "nan",
        }
    )


def write(rows: Iterable[dict], path: str | os.PathLike) -> None:
    """Write the table as CSV; the file appears whole or not at all."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read(path: str | os.PathLike) -> Iterator[dict]:
    """Read what ``write`` wrote, row by row."""
    with Path(path).open(newline="") as file:
        yield from map(_typed, csv.DictReader(file))


def _typed(row: dict) -> dict:
    return {name: _TYPES.get(name, str)(row[name]) for name in COLUMNS}
