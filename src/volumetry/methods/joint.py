"""The joint density of states g(A, Q) over the top band of A: how rare each test accuracy is.

Walkers stay where A is in [n - band, n]; windows cover the number of correct test examples. The
walkers start from those of rewl, and windows at accuracies that only training reaches from trained
networks. Inside the band every A is weighted by 1 / g(A) of rewl, so that all are visited alike;
the same g(A) fixes the absolute scale, and the shape that joint finds for it is a check.

From ln g(n, Q) follows P(Q | A = n) far into its tails, and with it the *tail volume* of a trained
network, ln Pr[Q >= its accuracy | A = n].
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import chdtrc, logsumexp

from volumetry.chains.cpu import Levels
from volumetry.errors import DataError
from volumetry.estimate.production import Production
from volumetry.methods.flat_histogram import FlatHistogram
from volumetry.methods.result import common_result
from volumetry.networks.forward import count_correct
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.systems.classification import Problem
from volumetry.weights.binary import unpack_weights


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler.

    A *sweep* is n_weights / flips moves of one walker, at least 300.
    """

    band: int = parameter(5, minimum=0, unit="examples", about="How far A may fall below n.")
    bins: int = parameter(
        100,
        minimum=2,
        unit="bins",
        about="Most bins of the number of correct test examples.",
    )
    flips: int = parameter(
        3,
        minimum=1,
        odd=True,
        unit="weights",
        about="Weights flipped by a move; odd, as for rewl.",
    )
    walkers: int = parameter(
        4,
        minimum=2,
        maximum=100_000,
        unit="walkers",
        about="Independent walkers in each window.",
    )
    rung_sweeps: float = parameter(
        2.0, above=0, unit="sweeps", about="Length of each step of the exploratory pass."
    )
    window_cost: float = parameter(
        60.0,
        minimum=1,
        unit="bins plus nats",
        about="Size of a window; smaller means more windows.",
    )
    settle_sweeps: float = parameter(
        20.0, above=0, unit="sweeps", about="Sweeps of each walker before production."
    )
    block_sweeps: float = parameter(
        10.0,
        above=0,
        unit="sweeps",
        about="Sweeps of each walker in one block of production.",
    )
    min_blocks: int = parameter(
        12, minimum=1, unit="blocks", stops=True, about="Fewest blocks of production."
    )
    max_blocks: int = parameter(
        400, minimum=1, unit="blocks", stops=True, about="Most blocks of production."
    )
    depth: float = parameter(
        20.0,
        above=0,
        unit="nats",
        about="How rare an accuracy may be, in the band, to be looked at; accuracies up to the "
        "best trained network's are in any case.",
    )
    tail_error: float = parameter(
        0.5,
        above=0,
        unit="nats",
        stops=True,
        about="Wanted standard error of the tail volume of every trained network.",
    )
    accuracy_error: float = parameter(
        0.01,
        above=0,
        unit="fraction",
        stops=True,
        about="Wanted standard error of the interpolators' mean test accuracy.",
    )


_LEAST_GROUPS = 5


def run(
    problem: Problem,
    parameters: Parameters,
    seed: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    sources: Mapping[str, xr.Dataset],
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Joint density of states over (A, test accuracy), and the tail volumes of trained networks.

    Args:
        device: cpu or cuda; the result does not depend on it.
        sources: results of other samplers on the same problem: ``rewl``, and any of ``gd``,
            ``sgd`` and ``sam``.
        checkpoint: of an earlier process; the result does not depend on it.

    Returns:
        The common scalars; over ``A`` (n - band..n) and ``accuracy_bin``: ``log_g_joint`` (nats)
        with its error; over ``accuracy_bin``: ``log_p_given_fit``, ln Pr[bin | A = n], with its
        error, and ``hits_low``, the fewest correct test examples of the bin; over ``network``: the
        sampler, accuracy and ``tail_log_volume`` of every trained network that fits, with its
        error, -inf where it was not reached.

    Raises:
        DataError: rewl has no walker near A = n to start from.
    """
    n, n_test = len(problem.y_train), len(problem.y_test)
    width = -(-(n_test + 1) // parameters.bins)
    bins = -(-(n_test + 1) // width)
    base = max(0, n - parameters.band)
    levels = Levels(base, bins, width)
    reference = sources["rewl"]
    log_p, log_p_error = _reference(problem, reference, base)
    networks = _trained(problem, sources)
    base_weight = np.repeat(-log_p, bins)
    with ThreadPoolExecutor(threads) as pool:
        starts = _starts(problem, parameters, seed, pool, reference, base, device, checkpoint)
        sampler = FlatHistogram(
            "joint", problem, parameters, seed, pool, levels, base_weight, device, checkpoint
        )
        reach = int(networks["hits"].max(initial=0)) // width
        ladder = sampler.explore(starts, depth=parameters.depth, reach=reach)
        level = (n - base) * bins + networks["hits"] // width
        snapshots = np.concatenate([ladder.snapshots, networks["weights"]])
        snapshot_levels = np.concatenate([ladder.snapshot_levels, level])
        bounds, log_weight, moves = sampler.divide(
            ladder,
            parameters.window_cost,
            lambda bounds: sampler.window_weights(ladder.log_p, bounds),
            snapshots,
            snapshot_levels,
            parameters.depth,
            reach,
        )

        def tails(values):
            return _tails(values.reshape(-1, bins)[-1], networks["hits"], width)

        def mean(values):
            return _mean_accuracy(values, levels, n_test)

        def complain(production: Production) -> list[str]:
            said = []
            error = float(production.stderr(mean))
            if not error <= parameters.accuracy_error:
                said.append(
                    f"standard error of the accuracy {error:.3g}, wanted "
                    f"{parameters.accuracy_error:.3g}"
                )
            reached = np.isfinite(tails(production.log_p))
            errors = production.stderr(tails)[reached]
            if len(errors) and not errors.max() <= parameters.tail_error:
                said.append(
                    f"standard error of a tail volume {errors.max():.3g} nats, wanted "
                    f"{parameters.tail_error:.3g}"
                )
            top = production.log_p.reshape(-1, bins)[-1]
            few = production.sets_met.reshape(-1, bins)[-1] < 2
            unknown = np.exp(top - logsumexp(top))[few].sum() if np.isfinite(top).any() else 1.0
            if unknown > 0.1:
                said.append(
                    f"a share of {unknown:.2g} of the fits is at accuracies that fewer than two "
                    "walker sets met"
                )
            return said + production.complaints()

        production, complaints = sampler.produce(bounds, log_weight, moves, None, complain)

    joint = _Joint(production, bins, log_p, log_p_error)
    if joint.agreement < 1e-4:
        complaints.append(f"g(A) differs from that of rewl, p = {joint.agreement:.1g}")
    missed = int((~np.isfinite(tails(production.log_p))).sum())
    if missed:
        complaints.append(f"{missed} trained networks are beyond every accuracy that was reached")
    return _result(
        problem, levels, sampler.moves, bounds, joint, networks, tails, production, complaints
    )


def _reference(problem: Problem, rewl: xr.Dataset, base: int) -> tuple[np.ndarray, np.ndarray]:
    """ln Pr[A] of rewl over the band, and its error relative to A = n; gaps are bridged."""
    log_p = rewl["log_g"].values[base:] - problem.network.n_weights * np.log(2)
    seen = np.flatnonzero(np.isfinite(log_p))
    if not len(seen):
        raise DataError(
            f"rewl met no A from {base} to {len(problem.y_train)}, where joint would start: raise "
            "rewl's budget, or joint's band"
        )
    return np.interp(np.arange(len(log_p)), seen, log_p[seen]), rewl["log_g_stderr"].values[base:]


def _trained(problem: Problem, sources: Mapping[str, xr.Dataset]) -> dict[str, np.ndarray]:
    """The trained networks that fit: sampler, weights (networks, n_weights) and test hits."""
    m = problem.network.n_weights
    found = {"sampler": [], "hits": [], "weights": [np.empty((0, m), np.int8)]}
    for sampler, result in sources.items():
        if "fitted" in result:
            fitted = result["fitted"].values == 1
            for bits in result["weights"].values[fitted]:
                weights = unpack_weights(bits, m)
                found["sampler"].append(sampler)
                found["weights"].append(weights[None])
                found["hits"].append(
                    count_correct(problem.network, weights, problem.x_test, problem.y_test)
                )
    return {
        "sampler": np.array(found["sampler"], object),
        "hits": np.array(found["hits"], int),
        "weights": np.concatenate(found["weights"]),
    }


def _starts(
    problem, parameters, seed, pool, rewl: xr.Dataset, base: int, device: str, checkpoint
) -> np.ndarray:
    """One state of the band for each walker set, from the top walkers of rewl."""
    n, m = len(problem.y_train), problem.network.n_weights
    weights = unpack_weights(rewl["state_weights"].values, m)
    levels, flat = Levels(0, 1, 1), np.zeros(n + 1)
    only_a = FlatHistogram(
        "joint", problem, parameters, seed, pool, levels, flat, device, checkpoint
    )
    if only_a.enter([(base, n)], weights, rewl["state_correct"].values) != [(base, n)]:
        raise DataError("no walker of rewl could be brought to the band of joint: widen the band")
    return np.array([walkers.weights[0] for walkers in only_a.sets])


def _tails(log_p: np.ndarray, hits: np.ndarray, width: int) -> np.ndarray:
    """ln Pr[at least that many test hits] from ln p over bins, (bins,), up to a constant.

    Inside a bin the logarithm of the tail is interpolated.
    """
    with np.errstate(invalid="ignore"):
        total = logsumexp(log_p)
        log_p = log_p - total
    tail = np.append(np.logaddexp.accumulate(log_p[::-1])[::-1], -np.inf)
    low, part = tail[hits // width], hits % width / width
    high = tail[hits // width + 1]
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(high), (1 - part) * low + part * high, low)


class _Joint:
    """ln p(A, bin) with the absolute scale of rewl, errors, and how the two agree on g(A)."""

    def __init__(self, production: Production, bins: int, log_p: np.ndarray, error: np.ndarray):
        def shape(values):
            return values.reshape(-1, bins)

        def over_a(values):
            return logsumexp(shape(values), axis=1)

        own = over_a(production.log_p)
        own_error = production.stderr(lambda values: over_a(values) - logsumexp(values))
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = 1 / (error**2 + own_error**2)
            both = np.isfinite(own) & np.isfinite(precision)
        if not both.any():
            both, precision = np.isfinite(own), np.ones(len(own))
        offset = np.average((log_p - own)[both], weights=precision[both])
        # rewl's errors at neighbouring A are correlated: a lenient test of shape.
        spread = (log_p - own - offset)[both]
        freedom = int(both.sum()) - 1
        chi2 = float((precision[both] * spread**2).sum())
        self.agreement = float(chdtrc(freedom, chi2)) if freedom else 1.0
        self.log_p = shape(production.log_p) + offset
        # The jackknife cannot judge what a handful of its groups say.
        judged = shape(production.groups_met) >= _LEAST_GROUPS
        relative = production.stderr(lambda values: values - logsumexp(values))
        self.stderr = np.where(judged, shape(relative), np.nan)
        with np.errstate(invalid="ignore"):
            self.given_fit = shape(production.log_p)[-1] - own[-1]
        given_fit_stderr = production.stderr(
            lambda values: shape(values)[-1] - logsumexp(shape(values)[-1])
        )
        self.given_fit_stderr = np.where(judged[-1], given_fit_stderr, np.nan)


def _mean_accuracy(log_p: np.ndarray, levels: Levels, n_test: int) -> float:
    """Mean test accuracy at A = n, every bin at its centre."""
    low = np.arange(levels.bins) * levels.width
    centre = (low + np.minimum(low + levels.width - 1, n_test)) / 2 / n_test
    top = log_p.reshape(-1, levels.bins)[-1]
    with np.errstate(invalid="ignore"):
        return np.exp(top - logsumexp(top)) @ centre


def _result(problem, levels, moves, bounds, joint, networks, tails, production, complaints):
    n, n_test = len(problem.y_train), len(problem.y_test)
    low = np.arange(levels.bins) * levels.width

    def mean(values):
        return _mean_accuracy(values, levels, n_test)

    fits = np.isfinite(joint.log_p[-1]).any()
    result = common_result(
        test_accuracy=mean(production.log_p) if fits else np.nan,
        test_accuracy_stderr=float(production.stderr(mean)) if fits else np.nan,
        converged=not complaints,
        verdict="not converged: " + "; ".join(complaints) if complaints else "converged",
        moves=moves,
    )

    def over(dims, values, long_name, units):
        return (dims, np.asarray(values), {"long_name": long_name, "units": units})

    def known(values, errors):
        return np.where(np.isfinite(values), errors, np.nan)

    tail = tails(production.log_p)
    log_g = joint.log_p + problem.network.n_weights * np.log(2)
    return result.assign_coords(
        A=over("A", np.arange(levels.base, n + 1), "training examples classified correctly", "1"),
        hits_low=over("accuracy_bin", low, "fewest correct test examples of the bin", "1"),
    ).assign(
        log_g_joint=over(("A", "accuracy_bin"), log_g, "ln joint density of states", "nat"),
        log_g_joint_stderr=over(
            ("A", "accuracy_bin"),
            known(log_g, joint.stderr),
            "standard error of log_g_joint, without that of its scale; NaN where few walkers were",
            "nat",
        ),
        log_p_given_fit=over("accuracy_bin", joint.given_fit, "ln Pr[bin | A = n]", "nat"),
        log_p_given_fit_stderr=over(
            "accuracy_bin",
            known(joint.given_fit, joint.given_fit_stderr),
            "standard error of log_p_given_fit",
            "nat",
        ),
        network_sampler=over("network", networks["sampler"], "sampler that trained it", "1"),
        network_test_accuracy=over("network", networks["hits"] / n_test, "test accuracy", "1"),
        tail_log_volume=over(
            "network", tail, "ln Pr[test accuracy at least that of the network | A = n]", "nat"
        ),
        tail_log_volume_stderr=over(
            "network",
            known(tail, production.stderr(tails)),
            "standard error of tail_log_volume",
            "nat",
        ),
        reference_agreement=over(
            (), joint.agreement, "probability of a larger chi-squared against g(A) of rewl", "1"
        ),
        window_low=over("window", [w[0] for w in bounds], "lowest bin of the window", "1"),
        window_high=over("window", [w[1] for w in bounds], "highest bin of the window", "1"),
        **production.diagnostics(),
    )
