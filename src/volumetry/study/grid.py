"""The grid of a study: its runs, and where the files of each lie."""

import os
import re
from pathlib import Path
from typing import NamedTuple

CELL = "{dataset}/{architecture}/n{n}/r{replicate}/{sampler}"
"""Where the files of a run lie below a folder, without their suffix."""


class Run(NamedTuple):
    """One cell of the grid: one sampler on one training set."""

    dataset: str
    architecture: str
    n: int
    replicate: int
    sampler: str

    @property
    def cell(self) -> str:
        """``CELL`` of this run."""
        return CELL.format(**self._asdict())


def grid(config: dict) -> list[Run]:
    """All runs of a resolved configuration."""
    return [
        Run(dataset, architecture, n, replicate, sampler)
        for dataset, spec in config["datasets"].items()
        for architecture in config["architectures"]
        for n in spec["n"]
        for replicate in range(config["replicates"])
        for sampler in config["samplers"]
        if n in config.get("sizes", {}).get(sampler, spec["n"])
    ]


def parse(path: str | os.PathLike) -> Run | None:
    """The run that a file belongs to, told by its path alone; None for any other file."""
    path = Path(path)
    found = _PATH.search(path.as_posix().removesuffix(path.suffix))
    if found is None:
        return None
    return Run(**{key: Run.__annotations__[key](value) for key, value in found.groupdict().items()})


def _group(found: re.Match) -> str:
    values = r"\d+" if Run.__annotations__[found[1]] is int else "[^/]+"
    return f"(?P<{found[1]}>{values})"


_PATH = re.compile("(?:^|/)" + re.sub(r"{(\w+)}", _group, CELL) + "$")
