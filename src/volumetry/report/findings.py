"""What a study says, as sentences with numbers."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from volumetry.report.style import style
from volumetry.results.roles import REFERENCE, TRAINED
from volumetry.results.views import cases, status

NO_ADVANTAGE = (
    "The advantage is not defined in this study: it needs the test accuracy of a trained network "
    f"({', '.join(TRAINED[:-1])} or {TRAINED[-1]}) and that of the typical interpolator "
    f"({REFERENCE}) at the same n."
)


def headlines(study: xr.Dataset) -> list[str]:
    """One result for each (dataset, architecture), after a summary where there are several.

    The advantage falls, or rises, where the 95 % interval of its change from the smallest to the
    largest n, paired by replicate, excludes zero; otherwise the change is unresolved.
    """
    cases = list(_with_advantage(study))
    said = [_headline(*case) for case in cases]
    verbs = [verb for _, part in cases if (verb := _verb(part))]
    if len(verbs) > 1:
        words = {"falls": "falls", "rises": "rises", "goes": "changes by an unresolved amount"}
        counts = [f"{words[v]} in {verbs.count(v)}" for v in words if v in verbs]
        said.insert(
            0,
            f"Of {len(verbs)} cases, from the smallest to the largest n, the advantage "
            f"{' and '.join(counts)}.",
        )
    return said or [NO_ADVANTAGE]


def _with_advantage(study: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """(subject of the sentence, part of the study) for the first trained sampler of each case."""
    for dataset, architecture, case in cases(study):
        for sampler in (s for s in TRAINED if s in study["sampler"].values):
            part = case.sel(sampler=sampler)
            if part["advantage"].notnull().any():
                subject = f"On {dataset}, {architecture}, the advantage of "
                yield f"{subject}{style(sampler).label} over the typical interpolator", part
                break


def _verb(part: xr.Dataset) -> str:
    """falls, rises or, unresolved, goes; empty with one size."""
    if part["advantage_change_first_n"] == part["advantage_change_last_n"]:
        return ""
    if part["advantage_change_high"] < 0:
        return "falls"
    return "rises" if part["advantage_change_low"] > 0 else "goes"


def _headline(subject: str, part: xr.Dataset) -> str:
    first, last = (int(part[f"advantage_change_{end}_n"]) for end in ("first", "last"))
    start, end = part.sel(n=first), part.sel(n=last)
    verb = _verb(part)
    if not verb:
        said = f"{subject} is {estimate(end, 'advantage')} at n = {last}; one size shows no trend."
    else:
        said = (
            f"{subject} {verb} from {estimate(start, 'advantage')} at n = {first} "
            f"to {estimate(end, 'advantage')} at n = {last}"
        )
        if np.isnan(part["advantage_change"]):
            said += "; no replicate has both, so the change is not measured."
        elif verb == "goes":
            said += f"; the change, {estimate(part, 'advantage_change')}, is not resolved."
        else:
            said += f", a change of {estimate(part, 'advantage_change')}."
    said += f" {'There' if not verb else f'At n = {last}'} it is {_beside_zero(end)}."
    if start["advantage_converged"] == 0 or end["advantage_converged"] == 0:
        said += " Provisional: a run behind these numbers did not converge."
    return said


def _beside_zero(point: xr.Dataset) -> str:
    if point["advantage_low"] > 0:
        return "above zero"
    if point["advantage_high"] < 0:
        return "below zero: the typical interpolator is the better one"
    return "not told apart from zero"


def estimate(part: xr.Dataset, name: str, digits: int = 3, sign: str = "+") -> str:
    """A summary as "mean [low, high]", or without an interval as "mean (no error bar)"."""
    mean, low, high = (float(part[f"{name}{end}"]) for end in ("", "_low", "_high"))
    if np.isnan(mean):
        return "–"
    mean, low, high = (f"{x:{sign}.{digits}f}".replace("-", "−") for x in (mean, low, high))
    return f"{mean} (no error bar)" if "nan" in low else f"{mean} [{low}, {high}]"


def cautions(study: xr.Dataset) -> list[str]:
    """What a reader must know before trusting the charts; empty if there is nothing."""
    state, said = status(study), []
    runs = int((state != "").sum())
    if bad := int((state == "not converged").sum()):
        said.append(
            f"{bad} of {_count(runs, 'run')} did not converge. Their partial estimates are drawn "
            "as hollow marks; the table of convergence gives the reasons."
        )
    networks, fitted = int(study["n_networks"].sum()), int(study["n_fitted"].sum())
    if fitted < networks:
        said.append(
            f"{networks - fitted:,} of {_count(networks, 'trained network')} never fitted the "
            "training set; they have no accuracy at A = n and enter no average."
        )
    if censored := int((state == "censored").sum()):
        said.append(
            f"{_count(censored, 'run')} of Guess & Check had no hit: only an upper limit of the "
            "log-volume, drawn as a triangle."
        )
    if study.sizes["replicate"] == 1:
        said.append(
            "There is one replicate: error bars hold the noise of its runs, not the spread over "
            "training subsets."
        )
    return said


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _measured(study: xr.Dataset, name: str) -> np.ndarray:
    """The values of a variable in the cells that have one."""
    values = study[name].values
    return values[np.isfinite(values)]


def _steps(study: xr.Dataset) -> tuple[int, int]:
    """Steps between sizes that can be compared with the accuracy, and how many of them agree."""
    return int(study["slope_agrees"].count()), int(study["slope_agrees"].sum())


def guess_and_check_agreement(study: xr.Dataset) -> str:
    """How well Guess & Check and rewl agree on the log-volume, where both measure it."""
    z = _measured(study, "volume_z")
    if not z.size:
        return "No run of Guess & Check with hits has a partner of REWL to be compared with."
    return (
        f"In {_count(z.size, 'pair')} of runs that both measure it, the two differ by "
        f"{np.sqrt(np.mean(z**2)):.2f} standard errors (root mean square; 1 is expected) and at "
        f"most by {np.abs(z).max():.2f}."
    )


def slope_agreement(study: xr.Dataset) -> str:
    """In how many steps -d ln V/dn lies between the -ln Qr of its two ends, within the errors."""
    total, agree = _steps(study)
    if not total:
        return "The study has no two successive sizes to compare."
    return f"They agree within their 95 % intervals in {agree} of {_count(total, 'step')}."


_Z_CHECKS = {
    "volume_z": "log-volume: Guess & Check and REWL",
    "enumerate_volume_z": "log-volume: REWL and all weight settings",
    "joint_accuracy_z": "accuracy of the interpolators: joint and REWL",
}


def checks(study: xr.Dataset) -> list[tuple[str, int, str]]:
    """Each consistency check of the study that it can make: what, how many cells, the outcome."""
    rows = []
    for name, what in _Z_CHECKS.items():
        z = _measured(study, name)
        if z.size:
            side = int((z > 0).sum())
            words = (
                f"root mean square {np.sqrt(np.mean(z**2)):.2f} standard errors (1 is expected), "
                f"largest {np.abs(z).max():.2f}; {side} above and {z.size - side} below zero"
            )
            rows.append((what, int(z.size), words))
    total, agree = _steps(study)
    if total:
        words = f"within their 95 % intervals in {agree} of {total}"
        rows.append(("slope of the log-volume and accuracy: −d ln V/dn and −ln Qr", total, words))
    p = _measured(study, "joint_agreement")
    if p.size:
        rows.append(
            ("density of states g(A): joint and REWL", int(p.size), f"least p-value {p.min():.2g}")
        )
    rule = _measured(study, "sum_rule")
    if rule.size:
        words = f"ln of the sum over 2^M is at most {np.abs(rule).max():.1g} from 0"
        rows.append(("sum of g(A) over all A", int(rule.size), words))
    return rows
