"""One Dataset for a study, from the files of its runs.

Variables over (dataset, architecture, n, replicate, sampler), NaN where the study has no such run:
``run_files.CELL_VARIABLES``, ``verdict`` (text) and ``seed``; without the sampler: ``reference``
(text), whose interpolators the others are compared with. Summaries over replicates, with
``_low`` and ``_high`` ends of 95 % intervals (``statistics.replicate_interval``):

    test_accuracy_mean, log_volume_mean   (dataset, architecture, n, sampler)
    test_loss_mean, the same of matrix sensing
    test_loss_factor, that of the reference over that of a trained sampler
    test_loss_ratio                       (dataset, n, sampler): last architecture over first
    advantage                             (dataset, architecture, n, sampler)
    advantage_by                          (dataset, architecture, n, sampler, protocol, scale)
    advantage_trend                       (dataset, architecture, sampler, protocol, scale)
    advantage_after_fit                   (dataset, architecture, n, sampler, epochs_after_fit)
    log_volume_slope_mean, minus_log_accuracy_mean    (dataset, architecture, n)
    slope_above_first, slope_above_last               (dataset, architecture, n)
    error_bound, gibbs_error                          (dataset, architecture, n)
    nats_per_example, reference_accuracy              (dataset, architecture, n)

Of a study with several architectures, each less the first, paired by replicate:

    log_volume_contrast, reference_accuracy_contrast  (dataset, architecture, n)
    test_accuracy_contrast, advantage_contrast        (dataset, architecture, n, sampler)
    log_loss_contrast, of matrix sensing              (dataset, architecture, n, sampler)

Checks of the study against itself, one a cell unless said otherwise:

    volume_z, accuracy_z  (.., pair): log-volumes, and accuracies of the interpolators, of each two
                          samplers that measure them against each other, as normal scores
    loss_z                (.., pair): of matrix sensing, the same of generalisation losses
    guessed_loss_z        the same of the reference and Guess & Check
    hits_p                how probable hits as unlikely as those of Guess & Check are under the
                          log-volume of each sampler that measures it; runs without a hit included
    sum_rule              ln of the sum of rewl's g(A) over 2^M; 0 is right
    slope_side            (dataset, architecture, n): where -d ln V/dn lies between the -ln Qr of
                          its two ends (0), below both (-1, a contradiction) or above both (1)
    slope_too_large, slope_too_small    the errors of ln V that slope_side would notice, nats

Of trained networks: ``network_accuracy`` (.., network, protocol) and ``network_rank``, the fraction
of the interpolators that do better; ``accuracy_at`` (.., protocol) and ``accuracy_after_fit``
(.., epochs_after_fit), means over the networks of a run. Of the reference: ``interpolators_above``
(.., accuracy), how its interpolators are distributed, and ``log_p`` (.., A), ln Pr[A].

With joint: ``tail_log_volume`` of the networks of each trained sampler, and over ``accuracy``
``log_p_given_fit``, the distribution of the interpolators.

A run that did not converge takes part with its estimate. A run without a test accuracy (nothing
fitted) has none to give: ``<summary>_replicates`` counts the runs that take part. In both cases
``<summary>_converged`` is 0. A log-volume with a censored replicate has no mean: leaving the
censored one out would bias it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xarray as xr

from volumetry.errors import DataError
from volumetry.estimate.confidence import clopper_pearson
from volumetry.methods.result import OF_LOSS
from volumetry.results.networks import add_density, add_interpolators, add_networks
from volumetry.results.reference import choose_reference
from volumetry.results.run_files import ACCURACIES, CELL_VARIABLES, DIMS, FEWER, read_run
from volumetry.results.summaries import summarise
from volumetry.runtime.netcdf import cf_attributes
from volumetry.study.registry import METHODS

_COORDINATES = {
    "dataset": "dataset",
    "architecture": "architecture",
    "n": "training examples",
    "replicate": "independent draw of the nested training subsets, with independent chains",
    "sampler": "method that finds networks fitting the training set",
}
_LEVELS = "training examples classified correctly"
_NOT_GATHERED = {
    *DIMS,
    *CELL_VARIABLES,
    *OF_LOSS,
    "verdict",
    "seed",
    "layers",
    "weights",
    "n_weights",
    "label_noise",
}
_NOT_GATHERED |= {
    "title",
    "Conventions",
    "n_classes",
    "n_test",
    "_joint",
    "_networks",
    "_scores",
    "_log_p",
}
"""Attributes of a run that become variables of the study, or that the study has of its own."""


def aggregate(
    run_files: Iterable[str | os.PathLike],
    *,
    datasets: Sequence[str] | None = None,
    architectures: Sequence[str] | None = None,
    attributes: Mapping[str, str | int | float] | None = None,
) -> xr.Dataset:
    """Gather the runs of a study and summarise them.

    The files are read one at a time; of each, what the study holds is kept.

    Args:
        run_files: NetCDF files of the runs, in any order.
        datasets, architectures: the names, in the order they shall have; sorted if not given.
        attributes: global attributes to add (the configuration, the seed of the study).

    Returns:
        The Dataset the module describes. Every other attribute of the runs becomes one global
        attribute: JSON, {sampler: [its distinct values]}.

    Raises:
        DataError: no file, a file that is not that of a run, two files of the same run, or a run
            whose dataset or architecture is not among the names given.
    """
    runs: dict[tuple, dict] = {}
    for path in run_files:
        run = read_run(path)
        cell = tuple(run[dim] for dim in DIMS)
        if cell in runs:
            raise DataError(f"{path}: a second file for the run {cell}; remove one of the two")
        runs[cell] = run
    return combine(runs, datasets=datasets, architectures=architectures, attributes=attributes)


def combine(
    runs: Mapping[tuple, Mapping],
    *,
    datasets: Sequence[str] | None = None,
    architectures: Sequence[str] | None = None,
    attributes: Mapping[str, str | int | float] | None = None,
) -> xr.Dataset:
    """``aggregate``, of runs that are read already.

    Args:
        runs: for each cell, a tuple in the order of ``DIMS``, what ``read_run`` returned.
        datasets, architectures, attributes: as for ``aggregate``.

    Raises:
        DataError: no run, or one whose dataset or architecture is not among the names given.
    """
    if not runs:
        raise DataError("no run files to aggregate: a study has at least one run")

    seen = {dim: sorted({run[dim] for run in runs.values()}) for dim in DIMS}
    coords = seen | {
        "dataset": _ordered(seen["dataset"], datasets, "dataset"),
        "architecture": _ordered(seen["architecture"], architectures, "architecture"),
        "sampler": [s for s in METHODS if s in seen["sampler"]]
        + [s for s in seen["sampler"] if s not in METHODS],
    }
    study = xr.Dataset(
        coords={dim: (dim, coords[dim], {"long_name": name}) for dim, name in _COORDINATES.items()}
    )
    place = {dim: {value: i for i, value in enumerate(coords[dim])} for dim in DIMS}

    def spread(key: str, dims: Sequence[str], fill, dtype, **attrs) -> None:
        values = np.full([len(coords[dim]) for dim in dims], fill, dtype)
        for run in runs.values():
            if key in run:
                values[tuple(place[dim][run[dim]] for dim in dims)] = run[key]
        study[key] = dims, values, attrs

    lossy = any("test_loss" in run for run in runs.values())
    for name, (long_name, units) in (CELL_VARIABLES | (OF_LOSS if lossy else {})).items():
        spread(name, DIMS, np.nan, float, **cf_attributes(long_name, units))
    low, high = clopper_pearson(study["hits"], study["guesses"], study["stopped_at_hit"] == 1)
    study["log_volume_low"][:] = np.log(np.where(low > 0, low, np.nan))
    study["log_volume_high"][:] = np.log(high)
    spread("verdict", DIMS, "", object, long_name="why the run counts as converged, or not")
    spread("seed", DIMS, -1, np.int64, long_name="seed of the run; -1 where there is no run")
    spread("layers", ["architecture"], "", object, long_name="layers, JSON")
    name = "kind of weights, and of real ones scale, biases and activation, JSON"
    spread("weights", ["architecture"], '{"weights": "binary"}', object, long_name=name)
    pair = ["dataset", "architecture"]
    spread("n_weights", pair, np.nan, float, long_name="number of weights M", units="count")
    spread("n_classes", ["dataset"], np.nan, float, long_name="number of classes", units="count")
    name = "fraction of training labels redrawn at random"
    spread("label_noise", ["dataset"], np.nan, float, long_name=name, units="1")

    spread("n_test", ["dataset"], np.nan, float, long_name="test examples N", units="count")
    _add_joint(study, runs, place)
    add_networks(study, runs, place)
    choose_reference(study)
    add_density(study, runs)
    add_interpolators(study, runs)
    study.attrs = {
        "title": "Volumetry study: trained networks against the typical interpolator",
        "Conventions": "CF-1.11",
        "intervals": "95 %; Student t over replicates, paired where a difference is taken; with "
        "one replicate of the run's own standard error, with its degrees of freedom",
        **_provenance(runs),
        **(attributes or {}),
    }
    summarise(study)
    return study


def _add_joint(study: xr.Dataset, runs: Mapping[tuple, Mapping], place: Mapping) -> None:
    """Tail volumes of the trained samplers, and the distributions of joint, if there are any."""
    found = [run for run in runs.values() if "_joint" in run]
    if not found:
        return
    shape = [study.sizes[dim] for dim in DIMS]
    tail, error = np.full((2, *shape), np.nan)
    density = np.full((*shape[:4], len(ACCURACIES)), np.nan)
    levels = int(study["n"].max()) + 1
    joint = np.full((*shape[:4], levels, len(FEWER)), np.nan, np.float32)
    for run in found:
        at = tuple(place[dim][run[dim]] for dim in DIMS[:4])
        density[at] = run["_joint"]["density"]
        joint[at][: len(run["_joint"]["joint"])] = run["_joint"]["joint"]
        for sampler, (tails, errors) in run["_joint"]["tails"].items():
            if sampler not in place["sampler"]:
                continue  # its own runs are not there, or no longer
            cell = (*at, place["sampler"][sampler])
            # The mean over networks; their errors come from the same chains, so they do not shrink.
            tail[cell], error[cell] = np.mean(tails), np.mean(errors)
    name = "mean ln Pr[test accuracy at least that of a trained network | A = n]"
    study["tail_log_volume"] = DIMS, tail, cf_attributes(name, "nat")
    study["tail_log_volume_stderr"] = (
        DIMS,
        error,
        cf_attributes(f"standard error of {name}", "nat"),
    )
    study["accuracy"] = "accuracy", ACCURACIES, {"long_name": "test accuracy", "units": "1"}
    study["log_p_given_fit"] = (
        (*DIMS[:4], "accuracy"),
        density,
        cf_attributes("ln of the density of the test accuracy at A = n"),
    )
    study["coarse_accuracy"] = "coarse_accuracy", FEWER, cf_attributes("test accuracy")
    study["A"] = "A", np.arange(levels), cf_attributes(_LEVELS, "count")
    name = "ln of Pr[A] times the density of the test accuracy at A, under uniform weights"
    study["log_p_joint"] = (*DIMS[:4], "A", "coarse_accuracy"), joint, cf_attributes(name, "nat")


def _ordered(seen: list[str], wanted: Sequence[str] | None, kind: str) -> list[str]:
    if wanted is None:
        return seen
    unknown = [name for name in seen if name not in wanted]
    if unknown:
        raise DataError(f"runs of an unlisted {kind}: {', '.join(unknown)}; list it or remove them")
    return [name for name in wanted if name in seen]


def _provenance(runs: Mapping[tuple, Mapping]) -> dict[str, str]:
    """{attribute: JSON of {sampler: [distinct values]}} for what is not a variable already."""
    found: dict[str, dict[str, set]] = {}
    for run in runs.values():
        for name, value in run.items():
            if name not in _NOT_GATHERED:
                value = json.dumps(value.tolist() if hasattr(value, "tolist") else value)
                found.setdefault(name, {}).setdefault(run["sampler"], set()).add(value)
    return {
        name: json.dumps(
            {sampler: [_decoded(v) for v in sorted(values)] for sampler, values in each.items()},
            sort_keys=True,
        )
        for name, each in sorted(found.items())
    }


def _decoded(text: str):
    """The value behind JSON; where that is JSON itself, the value behind it."""
    value = json.loads(text)
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value
