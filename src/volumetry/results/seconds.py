"""Run time and memory of the runs, from the files that ``joblog.write_cost`` leaves beside them.

Kept apart from the study itself, whose bytes are reproducible; these never are. What a run takes is
counted without the start of its process, and with what led to the checkpoint it went on from.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from volumetry.errors import DataError
from volumetry.runtime.files import replacing
from volumetry.study.grid import CELL, parse

COLUMNS = ("dataset", "architecture", "n", "replicate", "sampler", "seconds", "max_rss_mb")
"""The cell of the run, its wall-clock seconds, the most memory its process had, in MB."""

_TYPES = {"n": int, "replicate": int, "seconds": float, "max_rss_mb": float}


def collect(files: Iterable[str | os.PathLike]) -> Iterator[dict]:
    """Read files named as ``grid.CELL`` and ``.tsv``.

    Yields:
        One row of ``COLUMNS`` for each file that exists, in the order given: a time that was lost
        is no reason to run again.

    Raises:
        DataError: a file is not named so, or says something else.
    """
    return (_row(Path(path)) for path in files if Path(path).exists())


def _row(path: Path) -> dict:
    run = parse(path)
    if run is None or path.suffix != ".tsv":
        raise DataError(f"{path}: not the cost of a run; its path must end in {CELL}.tsv")
    try:
        with path.open(newline="") as lines:
            (cost,) = csv.DictReader(lines, delimiter="\t")
        return _typed(run._asdict() | {"seconds": cost["s"], "max_rss_mb": cost["max_rss"]})
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: does not say what a run took; delete it") from None


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
