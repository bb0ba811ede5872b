"""What a study says of itself beside its answer, as sentences with numbers."""

import numpy as np
import xarray as xr

from volumetry.report.numbers import counted, estimate
from volumetry.report.style import style
from volumetry.results.roles import GUESSING, REFERENCES
from volumetry.results.views import cases, status


def cautions(study: xr.Dataset) -> list[str]:
    """What a reader must know before trusting the charts; empty if there is nothing."""
    state, said = status(study), []
    runs = int((state != "").sum())
    if bad := int((state == "not converged").sum()):
        said.append(
            f"{bad} of {counted(runs, 'run')} did not converge. Their partial estimates are drawn "
            "as hollow marks; the table of convergence gives the reasons."
        )
    reference = study["reference"].values
    first, *others = [name for name in REFERENCES if name in study["sampler"].values] or [""]
    for name in others:
        if count := int((reference == name).sum()):
            said.append(
                f"In {count} of {counted(int((reference != '').sum()), 'cell')} the typical "
                f"interpolator is that of {name}: {first} did not run there, or not converge."
            )
    networks, fitted = int(study["n_networks"].sum()), int(study["n_fitted"].sum())
    if fitted < networks:
        said.append(
            f"{networks - fitted:,} of {counted(networks, 'trained network')} never fitted the "
            "training set; they have no accuracy at A = n and enter no average."
        )
    if censored := int((state == "censored").sum()):
        said.append(
            f"{counted(censored, 'run')} of Guess & Check had no hit: only the upper end of an "
            "interval of the log-volume, drawn as a triangle."
        )
    for sampler in study["sampler"].values:
        if _contradicted(study, sampler):
            said.append(
                f"The hits of Guess & Check contradict the log-volume of {style(sampler).label}: "
                f"p = {_measured(study, 'hits_p', sampler=sampler).min():.1g}."
            )
    if below := int((study["slope_side"] == -1).sum()):
        said.append(
            f"In {counted(below, 'step')} between sizes the log-volume falls too slowly for the "
            "accuracy: one of the two is wrong."
        )
    if study.sizes["replicate"] == 1:
        said.append(
            "There is one replicate: error bars hold the noise of its runs, not the spread over "
            "training subsets."
        )
    return said


def _measured(study: xr.Dataset, name: str, **where) -> np.ndarray:
    """The values of a variable in the cells that have one; none if there is no such variable."""
    values = study[name].sel(where).values if name in study else np.empty(0)
    return values[np.isfinite(values)]


_CONTRADICTION = 0.01
"""Of the probability that the least of several p-values is so small."""


def guess_and_check_agreement(study: xr.Dataset) -> str:
    """How probable the hits of Guess & Check are under the log-volumes measured otherwise."""
    said = [
        f"Under the log-volume of {style(sampler).label}, the hits of {_hits_words(study, sampler)}"
        for sampler in study["sampler"].values
        if _measured(study, "hits_p", sampler=sampler).size
    ]
    return " ".join(said) or "No run of Guess & Check stands beside another measured log-volume."


def _hits_words(study: xr.Dataset, sampler: str) -> str:
    p = study["hits_p"].sel(sampler=sampler)
    count, least = int(p.count()), float(p.min())
    none = int((p.notnull() & study["log_volume_upper"].sel(sampler=GUESSING).notnull()).sum())
    said = (
        f"{counted(count, 'run')} of {style(GUESSING).label}, {none} of them without a hit, have "
        f"p-values of {least:.2g} or more"
    )
    if _contradicted(study, sampler):
        return f"{said}: they contradict it."
    return f"{said}, as they should: the least of {count} is about {1 / (count + 1):.2g}."


def _contradicted(study: xr.Dataset, sampler: str) -> bool:
    p = _measured(study, "hits_p", sampler=sampler)
    return p.size > 0 and p.min() * p.size < _CONTRADICTION


def slope_agreement(study: xr.Dataset) -> str:
    """Where -d ln V/dn lies between the -ln Qr of its ends, and which errors that would notice."""
    side = _measured(study, "slope_side")
    if not side.size:
        return (
            "There is no step to compare: it takes two sizes, and two replicates, since the two "
            "agree on average over examples."
        )
    large, small = (_measured(study, f"slope_{way}") for way in ("too_large", "too_small"))
    between, above, below = (int((side == where).sum()) for where in (0, 1, -1))
    return (
        f"Of {counted(side.size, 'step')}, {between} between the points at the two ends within "
        f"95 % intervals, {above} above both, and {below} below both, which would be a "
        f"contradiction. Detectable error: it takes {_range(large)} nats more of ln V "
        f"at the larger n to find a step below, and {_range(small)} nats less to find it above."
    )


def _range(values: np.ndarray) -> str:
    low, high = f"{values.min():.2g}", f"{values.max():.2g}"
    return low if low == high else f"{low} to {high}"


_SIDES = {0: "between", 1: "above both", -1: "below both: contradiction"}


def steps(study: xr.Dataset) -> list[tuple]:
    """Each step of the slope check: place, -d ln V/dn less -ln Qr at its ends, outcome, power."""
    rows = []
    names = [name for name in study if name.startswith(("slope_", "log_volume_slope_start"))]
    for dataset, architecture, case in cases(study[names]):
        for n in case["n"].values[case["slope_side"].notnull()]:
            part = case.sel(n=n)
            first = int(part["log_volume_slope_start"])
            above = (estimate(part, f"slope_above_{end}") for end in ("first", "last"))
            errors = (f"{float(part[f'slope_too_{way}']):.2g}" for way in ("large", "small"))
            side = _SIDES[int(part["slope_side"])]
            rows.append((dataset, architecture, f"{first} to {n}", *above, side, *errors))
    return rows


def checks(study: xr.Dataset) -> list[tuple[str, int, str]]:
    """Each consistency check of the study that it can make: what, how many cells, the outcome."""
    rows = []
    z = _measured(study, "guessed_loss_z")
    if z.size:
        what = f"generalisation loss: the random interpolator and {style(GUESSING).label}"
        rows.append((what, int(z.size), _score_words(z)))
    for name, what in (
        ("volume_z", "log-volume"),
        ("accuracy_z", "test accuracy at A = n"),
        ("loss_z", "generalisation loss"),
    ):
        for pair in study["pair"].values if name in study else ():
            z = _measured(study, name, pair=pair)
            if z.size:
                labels = " and ".join(style(sampler).label for sampler in pair.split(" - "))
                rows.append((f"{what}: {labels}", int(z.size), _score_words(z)))
    for sampler in study["sampler"].values:
        p = _measured(study, "hits_p", sampler=sampler)
        if p.size:
            what = f"hits of {style(GUESSING).label} under the log-volume of"
            words = f"least p-value {p.min():.2g}, {int((p < 0.05).sum())} below 0.05"
            rows.append((f"{what} {style(sampler).label}", int(p.size), words))
    side = _measured(study, "slope_side")
    if side.size:
        words = ", ".join(f"{int((side == k).sum())} {said}" for k, said in _SIDES.items())
        what = "slope of the log-volume beside the accuracy: −d ln V/dn and −ln Qr at its ends"
        rows.append((what, int(side.size), words))
    rule = _measured(study, "sum_rule")
    if rule.size:
        words = f"ln of the sum over 2^M is at most {np.abs(rule).max():.1g} from 0"
        rows.append(("sum of g(A) over all A", int(rule.size), words))
    return rows


def _score_words(z: np.ndarray) -> str:
    side = int((z > 0).sum())
    return (
        f"root mean square {np.sqrt(np.mean(z**2)):.2f} standard errors (1 is expected), "
        f"largest {np.abs(z).max():.2f}; {side} above and {z.size - side} below zero"
    )
