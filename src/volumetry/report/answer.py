"""The answer to the question of the study, at every protocol and on every scale.

A *reading* is a protocol (which state of a trained network counts) and a scale (how its accuracy is
compared with that of the interpolators). In each case, a dataset and an architecture, a reading
``falls`` or ``rises`` where the 95 % interval of the slope against ln n, over all sizes and paired
by replicate, excludes zero; else it is ``unresolved``. Every sentence here follows from that.
"""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from volumetry.report import sensing_answer
from volumetry.report.numbers import estimate
from volumetry.report.style import style
from volumetry.results.roles import ANY_REFERENCE, ANY_TRAINED, TRAINED
from volumetry.results.views import cases

NO_ADVANTAGE = (
    "The advantage is not defined in this study: it needs the test accuracy of a trained network "
    f"({ANY_TRAINED}) and that of the typical interpolator "
    f"({ANY_REFERENCE}) at the same n."
)

FALLS, RISES, UNRESOLVED, NO_TREND = "falls", "rises", "unresolved", "one size"

SCALE_NAMES = {
    "accuracy": "difference of accuracies",
    "log_error": "log error ratio",
    "rareness": "rareness among all fits, nats",
}

PROTOCOL_NAMES = {
    "first_fit": "first fit",
    "final": "last fit",
    "best_validation": "best validation",
}


class Case(NamedTuple):
    """A dataset and an architecture with an advantage, of the first trained sampler that has one.

    Attributes:
        name: of the case.
        sampler: label of that sampler.
        protocol: the one that the study reports.
        epochs: most epochs after the first fit; NaN where it is not known.
        part: the study, of that case and sampler.
        verbs: what each reading (protocol, scale) that is known does; the reported protocol first.
    """

    name: str
    sampler: str
    protocol: str
    epochs: float
    part: xr.Dataset
    verbs: Mapping[tuple[str, str], str]

    @property
    def reported(self) -> str:
        """What the difference of accuracies does at the reported protocol; empty if not known."""
        return self.verbs.get((self.protocol, "accuracy"), "")


_NEEDED = (
    *(f"advantage_by{end}" for end in ("", "_low", "_high", "_converged")),
    *(f"advantage_trend{end}" for end in ("", "_low", "_high", "_first_n", "_last_n")),
    "reported_protocol",
)


def with_advantage(study: xr.Dataset) -> Iterator[Case]:
    """The cases of a study whose advantage is known."""
    if "advantage_by" not in study:
        return
    given = json.loads(study.attrs.get("parameters", "{}"))
    names = [*_NEEDED, *({"network_rank"} & set(study))]
    for dataset, architecture, case in cases(study[names]):
        for sampler in (s for s in TRAINED if s in study["sampler"].values):
            part = case.sel(sampler=sampler)
            if part["advantage_by"].notnull().any():
                epochs = given.get(sampler, [{}])[0].get("extra_epochs", np.nan)
                protocol = str(part["reported_protocol"].item()) or "best_validation"
                label, verbs = style(sampler).label, _verbs(part, protocol)
                yield Case(f"{dataset}, {architecture}", label, protocol, epochs, part, verbs)
                break


def _verbs(part: xr.Dataset, reported: str) -> dict[tuple[str, str], str]:
    """What each reading that is known does: (protocol, scale) -> verb, the reported one first."""
    known = part["advantage_by"].notnull().any("n")
    several = part["advantage_trend_first_n"] < part["advantage_trend_last_n"]
    verbs = xr.where(
        part["advantage_trend_high"] < 0,
        FALLS,
        xr.where(part["advantage_trend_low"] > 0, RISES, UNRESOLVED),
    ).where(several, NO_TREND)
    protocols = sorted(part["protocol"].values.tolist(), key=lambda each: each != reported)
    return {
        (protocol, scale): str(verbs.sel(protocol=protocol, scale=scale).item())
        for scale in part["scale"].values.tolist()
        for protocol in protocols
        if known.sel(protocol=protocol, scale=scale)
    }


def headlines(study: xr.Dataset) -> list[str]:
    """The answer, where it depends on how it is read, and a sentence or two for each case."""
    found, sensed = list(with_advantage(study)), sensing_answer.headlines(study)
    if not found:
        return sensed or [NO_ADVANTAGE]
    said = ["One size each shows no trend: whether the advantage diminishes is not measured."]
    if any(case.reported not in (NO_TREND, "") for case in found):
        said = [_answer(found), _disagreement(found)]
    return [*said, *map(_of_case, found), *sensed]


def _answer(found: list[Case]) -> str:
    """One sentence for the reading that the study reports, over all cases."""
    verbs, sampler = [case.reported for case in found], found[0].sampler
    falling, rising = verbs.count(FALLS), verbs.count(RISES)
    reading = f"as a {SCALE_NAMES['accuracy']}, {_protocol_words(found[0])}"
    if not falling and not rising:
        return (
            f"Not resolved, {reading}: no slope of the advantage of {sampler} is told apart from "
            "zero."
        )
    if not falling:
        return f"No, {reading}: the advantage rises as n grows {_where(rising, len(found))}."
    where = _where(falling, len(found))
    if falling == len(found):
        return f"Yes, {reading}: the advantage of {sampler} falls as n grows {where}."
    rest = f", and rises in {rising}" if rising else "; the others are not resolved"
    return f"In part, {reading}: the advantage falls {where}{rest}."


def _where(count: int, of: int) -> str:
    if count < of:
        return f"in {count} of {of} cases"
    return {1: "in the case measured", 2: "in both cases"}.get(of, f"in all {of} cases")


def _disagreement(found: list[Case]) -> str:
    """Which other readings say something else than the reported one does, over all cases."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for case in found:
        for reading, verb in case.verbs.items():
            if reading != (case.protocol, "accuracy") and case.reported != NO_TREND:
                pairs.setdefault(reading, []).append((case.reported, verb))
    said = []
    for (protocol, scale), told in pairs.items():
        if all(reported == verb for reported, verb in told):
            continue
        verbs = [verb for _, verb in told]
        words = ", ".join(
            f"{verb} in {verbs.count(verb)}" for verb in (FALLS, RISES, UNRESOLVED) if verb in verbs
        )
        said.append(f"{SCALE_NAMES[scale]} at {PROTOCOL_NAMES[protocol]}: {words}")
    if not said:
        return "Every other reading, by protocol and scale, says the same."
    return f"It depends on the reading: {'; '.join(said)}."


def _protocol_words(case: Case) -> str:
    if case.protocol == "first_fit":
        return "at the first fit"
    until = f"up to {case.epochs:,.0f} epochs after the first fit"
    until = until if np.isfinite(case.epochs) else "after the first fit"
    state = "the last state that fits" if case.protocol == "final" else "the best validated state"
    return f"at {state}, {until}"


def _of_case(case: Case) -> str:
    """What the reported reading is from the smallest to the largest n, and what goes with it."""
    part = case.part.sel(protocol=case.protocol, scale="accuracy")
    sizes = part["n"].values[part["advantage_by"].notnull().values]
    first, last = int(sizes[0]), int(sizes[-1])
    start, end = part.sel(n=first), part.sel(n=last)
    subject = f"On {case.name}, the advantage of {case.sampler} over the typical interpolator"
    verb = case.reported
    if verb == NO_TREND:
        value = estimate(end, "advantage_by")
        said = f"{subject} is {value} at n = {last}; one size shows no trend."
    else:
        words = {FALLS: "falls", RISES: "rises", UNRESOLVED: "goes"}[verb]
        said = (
            f"{subject} {words} from {estimate(start, 'advantage_by')} at n = {first} to "
            f"{estimate(end, 'advantage_by')} at n = {last}, by "
            f"{estimate(part, 'advantage_trend')} for each factor e in n"
        )
        said += "; that is not resolved." if verb == UNRESOLVED else "."
    said += f" {'There' if verb == NO_TREND else f'At n = {last}'} it is {_beside_zero(end)}."
    said += _phases(case, last) + _standing(case, last)
    if min(start["advantage_by_converged"], end["advantage_by_converged"]) == 0:
        said += " Provisional: a run behind these numbers did not converge."
    return said


def _beside_zero(point: xr.Dataset) -> str:
    if point["advantage_by_low"] > 0:
        return "above zero"
    if point["advantage_by_high"] < 0:
        return "below zero: the typical interpolator is the better one"
    return "not told apart from zero"


def _phases(case: Case, n: int) -> str:
    """How much of the advantage was there at the first fit, and how much came afterwards."""
    if case.protocol == "first_fit":
        return ""
    at = case.part.sel(n=n, scale="accuracy")
    early, late = (
        float(at["advantage_by"].sel(protocol=each)) for each in ("first_fit", case.protocol)
    )
    if np.isnan(early) or not late > 0:
        return ""
    value = estimate(at.sel(protocol="first_fit"), "advantage_by")
    if not 0 <= early <= late:
        return f" At the first fit it is {value} there."
    return f" At the first fit it is {value} there: {100 * early / late:.0f} % of it."


def _standing(case: Case, n: int) -> str:
    """Where the trained networks stand among the interpolators."""
    if "network_rank" not in case.part:
        return ""
    rank = case.part["network_rank"].sel(n=n, protocol=case.protocol)
    known = rank.values[np.isfinite(rank.values)]
    if not known.size:
        return ""
    median = float(np.median(known))
    share = f"{100 * median:.0f} %" if median >= 0.01 else "fewer than 1 %"
    return f" Of the interpolators sampled there, {share} do better than the median network."
