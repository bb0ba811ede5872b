"""What a study says of itself: summaries over replicates, and checks of one result by another.

``summarise`` adds to an aggregated study the variables that are computed from those of its runs;
the module ``aggregate`` lists them, and ``advantage`` has those of the question itself. Each
function here answers one question.
"""

from itertools import combinations, product

import numpy as np
import xarray as xr

from volumetry.estimate.confidence import CONFIDENCE
from volumetry.results import consistency, statistics
from volumetry.results.advantage import add_advantage
from volumetry.results.contrasts import add_contrasts
from volumetry.results.reference import compare, disagreement, of_reference, only
from volumetry.results.roles import GUESSING, MEASURING, TRAINED
from volumetry.results.statistics import normal_score
from volumetry.results.variables import put, put_mean


def summarise(study: xr.Dataset) -> None:
    """Add the means over replicates, the differences and the checks to ``study``."""
    _add_means(study)
    add_advantage(study)
    add_contrasts(study)
    _add_slope(study)
    _add_checks(study)
    _add_bound(study)
    _add_typical(study)


def _add_means(study: xr.Dataset) -> None:
    """How accurate is each sampler, and how large is the volume?"""
    censored = study["log_volume_upper"].notnull().any("replicate")
    for name, quantity, units, bounds in (
        ("test_accuracy", "test accuracy at A = n", "1", (0, 1)),
        ("log_volume", "log-volume", "nat", (-np.inf, 0)),
    ):
        value = study[name].where(~censored) if name == "log_volume" else study[name]
        errors = study[f"{name}_stderr"], study[f"{name}_df"]
        rest = study["converged"], quantity, units, bounds
        put_mean(study, f"{name}_mean", value, *errors, *rest)
    if "test_loss" in study:
        _add_mean_loss(study)


def _add_mean_loss(study: xr.Dataset) -> None:
    """How large is the generalisation loss? A mean on a logarithmic scale: losses are positive, and
    differ by factors."""
    loss, name = study["test_loss"], "test_loss_mean"
    quantity = "generalisation loss, geometric mean over replicates"
    rest = study["test_loss_df"], study["converged"], quantity
    put_mean(study, name, np.log(loss.where(loss > 0)), study["test_loss_stderr"] / loss, *rest)
    # Matrix by matrix: how much less does training lose than what fits by chance?
    random = of_reference(study)
    change = np.log(random["test_loss"]) - np.log(loss)
    change = change.where(study["sampler"].isin(TRAINED)).transpose(*loss.dims)
    unknown = xr.full_like(change, np.nan)
    both = study["converged"].where(random["converged"] == 1, random["converged"])
    about = "generalisation loss of the reference over that of a trained sampler"
    put_mean(study, "test_loss_factor", change, unknown, unknown, both.transpose(*loss.dims), about)
    # The trend: from the first architecture of the study to the last, matrix by matrix.
    change = np.log(loss.isel(architecture=-1)) - np.log(loss.isel(architecture=0))
    change = change.where(study.sizes["architecture"] > 1)
    unknown = xr.full_like(change, np.nan)
    both = study["converged"].isel(architecture=[0, -1]).min("architecture")
    about = "generalisation loss with the last architecture over that with the first"
    change, both = (each.drop_vars("architecture", errors="ignore") for each in (change, both))
    put_mean(study, "test_loss_ratio", change, unknown, unknown, both, about)
    means = (name, "test_loss_factor", "test_loss_ratio")
    for each, end in product(means, ("", "_low", "_high")):
        study[each + end] = np.exp(study[each + end]).assign_attrs(study[each + end].attrs)


def _add_slope(study: xr.Dataset) -> None:
    """How fast does the volume shrink, and how fast should it by the accuracy?"""
    random = of_reference(study)
    quantity = "-d ln V/dn from the next smaller n, 0 included, to this n"
    errors = random["log_volume_stderr"], random["log_volume_df"]
    slope = statistics.log_volume_slope(random["log_volume"], *errors, random["converged"])
    value, stderr = slope["slope"], slope["stderr"]
    rest = slope["df"], slope["converged"]
    put(study, "log_volume_slope", value, quantity, "nat")
    put(study, "log_volume_slope_stderr", stderr, f"standard error of {quantity}", "nat")
    start = "the smaller n of log_volume_slope"
    put(study, "log_volume_slope_start", slope["start"], start)
    positive = "nat", (0, np.inf)
    put_mean(study, "log_volume_slope_mean", value, stderr, *rest, quantity, *positive)

    quantity = "-ln of the test accuracy of the reference"
    value, stderr = statistics.minus_log(random["test_accuracy"], random["test_accuracy_stderr"])
    rest = random["test_accuracy_df"], random["converged"]
    put(study, "minus_log_accuracy", value, quantity, "nat")
    put(study, "minus_log_accuracy_stderr", stderr, f"standard error of {quantity}", "nat")
    put_mean(study, "minus_log_accuracy_mean", value, stderr, *rest, quantity, *positive)
    _add_slope_side(study, slope, value)


def _add_slope_side(study: xr.Dataset, slope: xr.Dataset, minus_log: xr.DataArray) -> None:
    """Does the volume shrink as fast as the accuracy says?"""
    # The two agree on average over examples: one replicate, whose examples are what they are, has
    # no error that would tell how far from the average it may be.
    unknown = xr.full_like(minus_log, np.nan)
    intervals = []
    for end, words, value in (
        ("first", "the smaller n", statistics.at_start(minus_log, slope["start"])),
        ("last", "this n", minus_log),
    ):
        name, quantity = f"slope_above_{end}", f"-d ln V/dn less -ln Qr at {words}"
        above = (slope["slope"] - value).where(slope["start"] > 0)
        rest = unknown, unknown, slope["converged"]
        put_mean(study, name, above, *rest, f"{quantity}, paired by replicate", "nat")
        ends = {which: study[f"{name}_{which}"] for which in ("low", "high")}
        intervals.append(xr.Dataset(ends))
    found = consistency.slope_side(*intervals, slope["n"] - slope["start"])
    about = "-d ln V/dn beside the -ln Qr of its ends: 0 between, -1 below, 1 above both"
    put(study, "slope_side", found["side"], about)
    for way in ("too_large", "too_small"):
        about = f"error of ln V, {way.replace('_', ' ')}, that slope_side would notice"
        put(study, f"slope_{way}", found[way], about, "nat")


def _add_checks(study: xr.Dataset) -> None:
    """Do samplers that measure the same thing agree?"""
    present = [sampler for sampler in study["sampler"].values if sampler in MEASURING]
    pairs = list(combinations(present, 2))
    if pairs:
        about = {"long_name": "samplers that are compared, first minus second"}
        study["pair"] = "pair", [" - ".join(pair) for pair in pairs], about
    for name, variable, quantity in (
        ("volume_z", "log_volume", "log-volumes"),
        ("accuracy_z", "test_accuracy", "test accuracies"),
        ("loss_z", "test_loss", "generalisation losses"),
    ):
        scores = [disagreement(study, pair, variable) for pair in pairs if variable in study]
        if scores:
            scores = xr.concat(scores, study["pair"]).transpose(..., "pair")
            put(study, name, scores, f"difference of two {quantity}, as a normal score")
    guesses = only(study, GUESSING)
    if "test_loss" in study:
        z = normal_score(*compare(of_reference(study), guesses, "test_loss"))
        about = f"generalisation loss of the reference less that of {GUESSING}, as a normal score"
        put(study, "guessed_loss_z", z, about)
    p = xr.apply_ufunc(
        np.vectorize(consistency.hits_p_value, otypes=[float]),
        *(guesses[name] for name in ("hits", "guesses")),
        guesses["stopped_at_hit"] == 1,
        *(study[f"log_volume{part}"] for part in ("", "_stderr", "_df")),
    )
    p = p.where(study["sampler"].isin(MEASURING)).transpose(*study["log_volume"].dims)
    about = f"probability that {GUESSING} is as unlikely or more under this log-volume"
    put(study, "hits_p", p, about)


def _add_bound(study: xr.Dataset) -> None:
    """What error does the volume alone allow, and what is it?

    The bound is about labels as they are drawn; with label noise, so is the error beside it.
    """
    random = of_reference(study)
    noise, classes = study["label_noise"], study["n_classes"]
    log_volume = random["log_volume"]
    if "test_loss" in study:  # the theorem is about classes
        log_volume = log_volume.where(random["test_loss"].isnull())
    bound = statistics.gibbs_error_bound(log_volume, study["n"])
    stderr, df = (1 - bound) * random["log_volume_stderr"] / study["n"], random["log_volume_df"]
    quantity = f"upper bound ({CONFIDENCE:.0%}) on the error of the random interpolator"
    rest = random["converged"], quantity, "1", (0, 1)
    put_mean(study, "error_bound", bound, stderr, df, *rest)
    error = 1 - (1 - noise) * random["test_accuracy"] - noise / classes
    stderr, df = (1 - noise) * random["test_accuracy_stderr"], random["test_accuracy_df"]
    quantity = "error of the random interpolator on labels as noisy as those of the training set"
    rest = random["converged"], quantity, "1", (0, 1)
    put_mean(study, "gibbs_error", error, stderr, df, *rest)


def _add_typical(study: xr.Dataset) -> None:
    """How good is the typical interpolator, and how much volume does an example take?"""
    random = of_reference(study)
    n, good = study["n"], random["converged"]
    value, stderr = -random["log_volume"] / n, random["log_volume_stderr"] / n
    quantity = "-ln V / n of the reference"
    rest = random["log_volume_df"], good, quantity, "nat", (0, np.inf)
    put_mean(study, "nats_per_example", value, stderr, *rest)
    errors = random["test_accuracy_stderr"], random["test_accuracy_df"]
    rest = good, "test accuracy of the reference", "1", (0, 1)
    put_mean(study, "reference_accuracy", random["test_accuracy"], *errors, *rest)
