"""The advantage of training over the typical interpolator, on every scale and at every protocol.

A claim about the advantage depends on both. The *protocol* says which state of a trained network
counts (``methods.result.SELECTIONS``). The *scale* says how accuracies are compared, Qs of the
trained networks with Qr of the interpolators:

- ``accuracy``: Qs - Qr. It shrinks by saturation alone where both come close to 1.
- ``log_error``: ln[(1 - Qr) / (1 - Qs)]: by what factor training errs less often.
- ``rareness``: -ln Pr[Q >= Qs | A = n], nats: how rare networks as accurate as the trained ones are
  among all fits. It needs ``joint``, and is known at the protocol that a study selects by.
"""

import json

import numpy as np
import xarray as xr

from volumetry.results import statistics
from volumetry.results.reference import compare, of_reference, only
from volumetry.results.roles import JOINT
from volumetry.results.variables import put, put_mean

SCALES = {
    "accuracy": "test accuracy of trained networks minus that of the reference",
    "log_error": "ln of the error of the reference over that of trained networks",
    "rareness": "-ln of the fraction of fits that are as accurate as trained networks, nats",
}

_PROTOCOLS = "selection"
_ENDS = {"mean": "", "low": "_low", "high": "_high"}


def add_advantage(study: xr.Dataset) -> None:
    """How much better than a random interpolator is each sampler, and how does that change?"""
    random = of_reference(study)
    _add_reported(study, random)
    if "accuracy_at" in study:
        _add_selection(study)
        _add_readings(study, random)
        _add_after_fit(study, random)


def of_runs(study: xr.Dataset, random: xr.Dataset) -> tuple[xr.DataArray, ...]:
    """The advantage of every run at the protocol that its sampler was asked for, its error, the
    degrees of freedom of that, and whether both sides converged.

    Args:
        random: ``of_reference``; a reference has no advantage over itself.
    """
    advantage, stderr, df = compare(study, random, "test_accuracy")
    advantage = advantage.where(study["sampler"] != study["reference"])
    return advantage, stderr, df, np.minimum(study["converged"], random["converged"])


def _add_reported(study: xr.Dataset, random: xr.Dataset) -> None:
    """The difference of accuracies at the protocol that each sampler was asked for."""
    quantity = "advantage: test accuracy over that of the reference, paired by replicate"
    advantage, stderr, df, converged = of_runs(study, random)
    put(study, "advantage_replicate", advantage, quantity)
    known = stderr.where(advantage.notnull())
    put(study, "advantage_replicate_stderr", known, f"error of {quantity}")
    put_mean(study, "advantage", advantage, stderr, df, converged, quantity, bounds=(-1, 1))


def _add_selection(study: xr.Dataset) -> None:
    """Which protocol each sampler was asked for; empty for one that trains no networks."""
    given = json.loads(study.attrs.get("parameters", "{}"))
    asked = [given.get(sampler, [{}])[0].get(_PROTOCOLS, "") for sampler in study["sampler"].values]
    about = {"long_name": "protocol of test_accuracy and advantage"}
    study["reported_protocol"] = "sampler", np.array(asked, object), about


def _add_readings(study: xr.Dataset, random: xr.Dataset) -> None:
    """The advantage at every protocol on every scale, and its slope against ln n."""
    values, stderr, df, flags = (
        xr.concat(parts, dim=xr.Variable("scale", list(SCALES)))
        for parts in zip(*(_on_scale(study, random, scale) for scale in SCALES))
    )
    about = "; ".join(f"{scale}: {meaning}" for scale, meaning in SCALES.items())
    study["scale"] = "scale", list(SCALES), {"long_name": about}
    quantity = "advantage by protocol and scale, paired by replicate"
    flags = flags.where(values.notnull())
    put_mean(study, "advantage_by", values, stderr, df, flags, quantity)
    parts = {end: study[f"advantage_by{part}"] for end, part in _ENDS.items()}
    bounded = statistics.within(xr.Dataset(parts), -1, 1)
    for end in ("low", "high"):
        name = f"advantage_by_{end}"
        about = study[name].attrs
        study[name] = study[name].where(study["scale"] != "accuracy", bounded[end])
        study[name].attrs = about
    slope = statistics.trend(values, stderr, df, flags)
    rest = slope["stderr"], slope["df"], slope["converged"]
    quantity = "slope of the advantage against ln n, by protocol and scale, paired by replicate"
    put_mean(study, "advantage_trend", slope["slope"], *rest, quantity)
    for end in ("first", "last"):
        about = f"{end} n of advantage_trend"
        put(study, f"advantage_trend_{end}_n", slope[end], about)


def _on_scale(study: xr.Dataset, random: xr.Dataset, scale: str) -> tuple[xr.DataArray, ...]:
    """Advantage, its error, the degrees of freedom of that, and whether both sides converged: a
    cell and protocol each."""
    mine = [study[f"accuracy_at{part}"] for part in ("", "_stderr", "_df")]
    theirs = [random[f"test_accuracy{part}"] for part in ("", "_stderr", "_df")]
    if scale == "rareness":
        if "tail_log_volume" not in study:
            return (xr.full_like(mine[0], np.nan),) * 4
        asked, joint = study["protocol"] == study["reported_protocol"], only(study, JOINT)
        # Where a network was beyond what joint reached, its rareness is only known to be more.
        unreached = np.isinf(study["tail_log_volume"]).any("replicate")
        tail = -study["tail_log_volume"].where(asked & ~unreached)
        both = np.minimum(study["converged"], joint["converged"])
        rest = study["tail_log_volume_stderr"], joint["log_volume_df"], both
        known = (each.where(tail.notnull()) for each in rest)
        return tuple(each.transpose(*mine[0].dims) for each in (tail, *known))
    if scale == "log_error":
        # The smaller error is the better one: the sides change places.
        mine[:2], theirs[:2] = (
            statistics.log_error(*each[:2], study["n_test"]) for each in (theirs, mine)
        )
        mine[2], theirs[2] = theirs[2], mine[2]
    pairs = [each for pair in zip(mine, theirs) for each in pair]
    dims = study["accuracy_at"].dims
    both = np.minimum(study["converged"], random["converged"])
    both = both.broadcast_like(study["accuracy_at"])
    return tuple(each.transpose(*dims) for each in (*statistics.difference(*pairs), both))


def _add_after_fit(study: xr.Dataset, random: xr.Dataset) -> None:
    """What the epochs after the first fit add."""
    mine = [study[f"accuracy_after_fit{part}"] for part in ("", "_stderr", "_df")]
    theirs = [random[f"test_accuracy{part}"] for part in ("", "_stderr", "_df")]
    pairs = [each for pair in zip(mine, theirs) for each in pair]
    advantage, stderr, df = statistics.difference(*pairs)
    converged = np.minimum(study["converged"], random["converged"]).where(advantage.notnull())
    quantity = "advantage so many epochs after the first fit of a network, paired by replicate"
    bounds = (-1.0, 1.0)
    put_mean(
        study, "advantage_after_fit", advantage, stderr, df, converged, quantity, bounds=bounds
    )
