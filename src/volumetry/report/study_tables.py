"""Tables of a study for documents: what was found, and what it took.

    python -m volumetry.report.study_tables results/reference docs/reference.md

puts those of a results folder into documents, each between ``<!-- table: NAME -->`` and
``<!-- end -->``.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from volumetry.report.answer import PROTOCOL_NAMES, SCALE_NAMES
from volumetry.report.numbers import estimate
from volumetry.report.style import style
from volumetry.results.roles import TRAINED
from volumetry.results.views import cases
from volumetry.runtime import markdown, netcdf

PROTOCOLS = ("first_fit", "best_validation")
"""Those that tables show: the first and the last thing that selection may do."""

Rows = Iterable[tuple[str, ...]]


def accuracies(study: xr.Dataset, runs: list[Mapping]) -> str:
    """Test accuracy of the typical interpolator and of trained networks, and the advantage."""
    trained = [sampler for sampler in study["sampler"].values if sampler in TRAINED]

    def rows() -> Rows:
        for name, part in _points(study):
            for sampler in trained:
                own = part.sel(sampler=sampler)
                if not np.isfinite(own["test_accuracy_mean"]):
                    continue
                by = own["accuracy_at"].mean("replicate")
                yield (
                    *name,
                    _label(sampler),
                    *(f"{float(by.sel(protocol=p)):.3f}" for p in PROTOCOLS),
                    f"{float(part['reference_accuracy']):.3f}",
                    *(
                        _interval(own.sel(protocol=p, scale="accuracy"), "advantage_by")
                        for p in PROTOCOLS
                    ),
                )

    header = ("dataset", "n", "sampler", *(PROTOCOL_NAMES[p] for p in PROTOCOLS), "typical")
    return markdown.table(
        (*header, *(f"advantage, {PROTOCOL_NAMES[p]}" for p in PROTOCOLS)), rows(), 3
    )


def trends(study: xr.Dataset, runs: list[Mapping]) -> str:
    """Slope of the advantage against ln n, by sampler, protocol and scale."""

    def rows() -> Rows:
        for name, part in _named(study):
            for sampler in study["sampler"].values:
                slopes = part["advantage_trend"].sel(sampler=sampler)
                for scale in study["scale"].values:
                    if not np.isfinite(slopes.sel(scale=scale)).any():
                        continue
                    own = part.sel(sampler=sampler, scale=scale)
                    yield (
                        name,
                        _label(sampler),
                        SCALE_NAMES[scale],
                        *(_interval(own.sel(protocol=p), "advantage_trend") for p in PROTOCOLS),
                    )

    header = ("dataset", "sampler", "scale", *(PROTOCOL_NAMES[p] for p in PROTOCOLS))
    return markdown.table(header, rows(), 3)


def volumes(study: xr.Dataset, runs: list[Mapping]) -> str:
    """Log-volumes by every sampler that measures them, nats an example, and how runs ended."""
    samplers = [
        s for s in study["sampler"].values if np.isfinite(study["log_volume"].sel(sampler=s)).any()
    ]

    def rows() -> Rows:
        for name, part in _points(study):
            yield (
                *name,
                *(_volume(part.sel(sampler=sampler)) for sampler in samplers),
                _interval(part, "nats_per_example", sign=""),
                f"{-np.log(float(part['reference_accuracy'])):.3f}",
            )

    header = ("dataset", "n", *(f"ln V, {_label(s)}" for s in samplers))
    return markdown.table((*header, "-ln V / n", "-ln Q"), rows(), 1)


def costs(study: xr.Dataset, runs: list[Mapping]) -> str:
    """Seconds of a run, median over replicates, by sampler."""
    seconds: dict[tuple, dict[str, list[float]]] = {}
    for run in runs:
        if run["seconds"]:
            cell = seconds.setdefault((run["dataset"], int(run["n"])), {})
            cell.setdefault(run["sampler"], []).append(float(run["seconds"]))
    samplers = [s for s in study["sampler"].values if any(s in cell for cell in seconds.values())]
    rows = (
        (dataset, str(n), *(f"{np.median(cell[s]):,.0f}" if s in cell else "" for s in samplers))
        for (dataset, n), cell in sorted(seconds.items())
    )
    return markdown.table(("dataset", "n", *map(_label, samplers)), rows, 1)


TABLES: dict[str, Callable[[xr.Dataset, list[Mapping]], str]] = {
    table.__name__: table for table in (accuracies, trends, volumes, costs)
}
"""The tables by name."""


def _named(study: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Name and part of each dataset and architecture, the latter named where there are several."""
    for dataset, architecture, part in cases(study):
        several = study.sizes["architecture"] > 1
        yield f"{dataset}, {architecture}" if several else dataset, part


def _points(study: xr.Dataset) -> Iterator[tuple[tuple[str, str], xr.Dataset]]:
    """(case and n) as words, and the part of the study, for each with a typical interpolator."""
    for name, case in _named(study):
        for n in study["n"].values:
            part = case.sel(n=n)
            if np.isfinite(part["reference_accuracy"]):
                yield (name, str(n)), part


def _label(sampler: str) -> str:
    return style(sampler).label


def _interval(part: xr.Dataset, name: str, sign: str = "+") -> str:
    """A mean with its 95 % interval; a star where a run behind it did not converge."""
    if not np.isfinite(part[name]):
        return ""
    return estimate(part, name, sign=sign) + _star(part[f"{name}_converged"])


def _star(converged) -> str:
    return "" if converged == 1 else " *"


def _volume(part: xr.Dataset) -> str:
    """ln V of every replicate with its standard error; a star where the run did not converge."""
    said = []
    for replicate in part["replicate"].values:
        own = part.sel(replicate=replicate)
        if np.isfinite(own["log_volume"]):
            value, error = float(own["log_volume"]), float(own["log_volume_stderr"])
            said.append(f"{value:.2f} ± {error:.2f}{_star(own['converged'])}".replace("-", "−"))
    return "; ".join(said)


def refresh(text: str, folder: Path) -> str:
    """A document with its marked tables replaced by those of a results folder."""
    study = netcdf.read(folder / "study.nc")
    with (folder / "runs.csv").open(newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    return markdown.refresh(text, lambda name: TABLES[name](study, runs))


if __name__ == "__main__":
    for path in map(Path, sys.argv[2:]):
        path.write_text(
            refresh(path.read_text(encoding="utf-8"), Path(sys.argv[1])), encoding="utf-8"
        )
