"""What another architecture changes, in words and as a table: each less the first of the study."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import xarray as xr

from volumetry.report.answer import PROTOCOL_NAMES
from volumetry.report.numbers import starred
from volumetry.report.style import style
from volumetry.results.roles import GUESSING, REFERENCES, TRAINED

_ENDS = ("", "_low", "_high", "_converged")


class Contrast(NamedTuple):
    """One quantity that is compared.

    Attributes:
        title: what is compared.
        unit, digits: of its numbers.
        part: ``difference``, with its ends and flag, over (dataset, architecture, n).
    """

    title: str
    unit: str
    digits: int
    part: xr.Dataset


def contrasts_of(study: xr.Dataset) -> list[Contrast]:
    """What is known of volume, accuracy, advantage and loss; nothing with one architecture.

    Of trained networks it is the first sampler that counts, at the protocol that it was asked for.
    """
    if "log_volume_contrast" not in study:
        return []
    found = [
        _contrast(study, "log_volume", "ln V", " nats", 2),
        _contrast(study, "reference_accuracy", "accuracy of typical interpolators", "", 3),
    ]
    samplers = list(study["sampler"].values)
    for sampler in [name for name in samplers if name in TRAINED][:1]:
        whose = style(sampler).label
        asked = study.get("reported_protocol")
        if asked is not None and (protocol := asked.sel(sampler=sampler).item()):
            whose += f" at {PROTOCOL_NAMES[protocol]}"
        found.append(_contrast(study, "test_accuracy", f"accuracy of {whose}", "", 3, sampler))
        found.append(_contrast(study, "advantage", f"advantage of {whose}", "", 3, sampler))
    if "log_loss_contrast" in study:
        random = [name for name in (*REFERENCES, GUESSING) if name in samplers][:1]
        for sampler in [*random, *(name for name in samplers if name in TRAINED)]:
            title = f"ln of the generalisation loss, {style(sampler).label}"
            found.append(_contrast(study, "log_loss", title, "", 2, sampler))
    return [each for each in found if each.part["difference"].notnull().any()]


def _contrast(
    study: xr.Dataset, name: str, title: str, unit: str, digits: int, sampler: str | None = None
) -> Contrast:
    part = study[[f"{name}_contrast{end}" for end in _ENDS]]
    if sampler is not None:
        part = part.sel(sampler=sampler, drop=True)
    return Contrast(
        title,
        unit,
        digits,
        part.rename({f"{name}_contrast{end}": f"difference{end}" for end in _ENDS}),
    )


def header(compared: Sequence[Contrast]) -> list[str]:
    """Titles of the columns of ``table`` with numbers."""
    return [f"{each.title}{f' ({each.unit.strip()})' * bool(each.unit)}" for each in compared]


def table(study: xr.Dataset, compared: Sequence[Contrast]) -> list[tuple]:
    """Dataset, the two architectures, n, and each difference with its interval."""
    first, *others = study["architecture"].values
    rows = []
    for dataset, architecture, n in product(study["dataset"].values, others, study["n"].values):
        points = [
            each.part.sel(dataset=dataset, architecture=architecture, n=n) for each in compared
        ]
        if any(np.isfinite(point["difference"]) for point in points):
            said = (
                starred(point, "difference", each.digits) for each, point in zip(compared, points)
            )
            rows.append((dataset, f"{architecture} less {first}", int(n), *said))
    return rows


def words(study: xr.Dataset, compared: Sequence[Contrast]) -> str:
    """How far classifiers of each architecture differ from those of the first."""
    rest = [dim for dim in study["test_accuracy"].dims if dim != "dataset"]
    there = study["dataset"][study["test_accuracy"].notnull().any(rest)]
    first, *others = study["architecture"].values
    said = []
    for architecture in others:
        parts = (
            each._replace(part=each.part.sel(dataset=there, architecture=architecture))
            for each in compared
        )
        if ranges := ", ".join(_ranges(parts)):
            said.append(f"{architecture} less {first}: {ranges}.")
    return " ".join(said)


def _ranges(compared: Iterable[Contrast]) -> Iterator[str]:
    """From where to where each goes, and how many cells are resolved, and how many doubtful."""
    for title, unit, digits, part in compared:
        value = part["difference"].values
        value = value[np.isfinite(value)]
        if not value.size:
            continue
        ends = dict.fromkeys(f"{x:+.{digits}f}" for x in (value.min(), value.max()))
        resolved = int(((part["difference_low"] > 0) | (part["difference_high"] < 0)).sum())
        counts = f"{resolved} of {value.size} resolved"
        if doubtful := int((part["difference_converged"] == 0).sum()):
            counts += f", {doubtful} with a run that did not converge"
        yield f"{title} {' to '.join(ends).replace('-', '−')}{unit} ({counts})"
