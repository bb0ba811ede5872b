"""The joint density of states g(A, Q) over the top band of A: how rare each test accuracy is.

Walkers stay where A is in [n - band, n]; windows cover the number of correct test examples. The
walkers start from those of rewl; every other set from trained networks, also where accuracies are
lower. Inside the band every A is weighted by 1 / g(A) of rewl, so that all are visited alike;
the same g(A) fixes the absolute scale, and the shape that joint finds for it is a check.

From ln g(n, Q) follows P(Q | A = n) far into its tails, and with it the *tail volume* of a trained
network, ln Pr[Q >= its accuracy | A = n].
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import chdtrc, logsumexp

from volumetry.errors import DataError
from volumetry.estimate.criteria import (
    ACCURACY_ERROR,
    NETWORKS_REACHED,
    REFERENCE_AGREEMENT,
    REFERENCE_CONVERGED,
    TAIL_ERROR,
    UNKNOWN_FITS,
    Criterion,
    agreement_criteria,
    general_criteria,
    verdict,
)
from volumetry.estimate.production import Production
from volumetry.methods.costs import band_below
from volumetry.methods.flat_histogram.both_sides import both_sides, from_training, train
from volumetry.methods.flat_histogram.explore import Anneal, explore
from volumetry.methods.flat_histogram.learn import warm_start
from volumetry.methods.flat_histogram.produce import Produced, produce
from volumetry.methods.flat_histogram.setting import Flat, States, open_run
from volumetry.methods.flat_histogram.settle import divide
from volumetry.methods.flat_histogram.windows import enter
from volumetry.methods.mixing import most_flips
from volumetry.methods.precision import wanted_accuracy_error
from volumetry.methods.result import common_result
from volumetry.networks.forward import count_correct
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.netcdf import described as over
from volumetry.systems.classification import Classification, Levels, Problem


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler.

    A *sweep* is n_weights / flips moves of one walker, at least 300.
    """

    band: int = parameter(
        5,
        minimum=0,
        unit="examples",
        about="How far A may fall below n; the default adapts to a smaller n.",
    )
    bins: int = parameter(
        100,
        minimum=2,
        unit="bins",
        about="Most bins of the number of correct test examples.",
    )
    flips: int = most_flips()
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
        20.0,
        above=0,
        unit="sweeps",
        about="Sweeps of each walker before production; each of the four trials takes one or more.",
    )
    block_sweeps: float = parameter(
        10.0,
        minimum=0.5,
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
    accuracy_error: float = wanted_accuracy_error()


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
        error, -inf where it was not reached; over ``window`` and ``move_kind``: ``move_share`` and
        ``move_acceptance``.

    Raises:
        ConfigError: more ``flips`` than there are weights, or a ``band`` above n.
        DataError: rewl has no walker near A = n to start from.
    """
    band = band_below(len(problem.y_train), parameters.band, Parameters.band)
    system = Classification.over_accuracy(problem, band, parameters.bins)
    levels, reference = system.levels, sources["rewl"]
    log_p, log_p_error = _reference(problem, reference, levels.base)
    networks = _trained(problem, sources)
    base_weight = np.repeat(-log_p, levels.bins)
    given = {"device": device, "checkpoint": checkpoint}
    with ThreadPoolExecutor(threads) as pool:
        only_a = open_run(
            "joint", Classification.over_correct(problem), parameters, seed, pool, **given
        )
        starts, step = _starts(only_a, reference, levels.base)
        flat = open_run("joint", system, parameters, seed, pool, **given, base_weight=base_weight)
        reach = int(networks.hits.max(initial=0)) // levels.width
        anneal = Anneal(parameters.rung_sweeps, parameters.depth, reach)
        ladder = explore(flat, anneal, starts, step)
        trained = _for_their_sets(system, networks, flat.sets) or train(flat, seed)
        states = both_sides(flat, ladder, parameters.rung_sweeps, trained)
        settled = divide(
            flat,
            ladder,
            states,
            lambda entered: warm_start(flat, ladder, entered),
            window_cost=parameters.window_cost,
            settle_sweeps=parameters.settle_sweeps,
            depth=parameters.depth,
            reach=reach,
        )
        tails = _Tails(levels, networks.hits, len(problem.y_test))
        produced = produce(
            flat, parameters, settled, lambda production: _judge(parameters, tails, production)
        )
    joint = _Joint(produced.production, levels.bins, log_p, log_p_error)
    missed = int((~np.isfinite(tails.of_networks(produced.production.log_p))).sum())
    produced = produced._replace(
        criteria=[
            *produced.criteria,
            REFERENCE_CONVERGED.judge(float(reference["converged"])),
            REFERENCE_AGREEMENT.judge(joint.agreement),
            NETWORKS_REACHED.judge(missed),
        ]
    )
    result = _result(system, flat.chains.moves, settled.bounds, joint, networks, tails, produced)
    return flat.describe(result, produced.made)


class _Networks(NamedTuple):
    """The trained networks that fit.

    Attributes:
        sampler: (networks,): that trained it.
        hits: int (networks,): correct test examples.
        weights: int8 (networks, n_weights).
    """

    sampler: np.ndarray
    hits: np.ndarray
    weights: np.ndarray


class _Tails:
    """Test accuracy and tail volumes at A = n, as functions of ln p over levels."""

    def __init__(self, levels: Levels, hits: np.ndarray, n_test: int):
        """``hits``: correct test examples of each network."""
        self.levels, self.hits, self.n_test = levels, hits, n_test

    def top(self, values: np.ndarray) -> np.ndarray:
        """The values at A = n: (bins,)."""
        return values.reshape(-1, self.levels.bins)[-1]

    def of_networks(self, log_p: np.ndarray) -> np.ndarray:
        """Tail volume of each network: (networks,), nats."""
        return _tails(self.top(log_p), self.hits, self.levels.width)

    def accuracy(self, log_p: np.ndarray) -> float:
        """Mean test accuracy at A = n, every bin at its centre."""
        low = np.arange(self.levels.bins) * self.levels.width
        centre = (low + np.minimum(low + self.levels.width - 1, self.n_test)) / 2 / self.n_test
        top = self.top(log_p)
        with np.errstate(invalid="ignore"):
            return np.exp(top - logsumexp(top)) @ centre


def _for_their_sets(system: Classification, networks: _Networks, sets: int) -> States | None:
    """The networks, shared among the sets that start from them; None if there are too few."""
    owners = np.flatnonzero(from_training(sets))
    if len(networks.hits) < len(owners):
        return None
    best = np.argsort(-networks.hits, kind="stable")
    levels = system.level(len(system.problem.y_train), networks.hits[best])
    return States.trained(networks.weights[best], levels, np.resize(owners, len(best)))


def _judge(parameters: Parameters, tails: _Tails, production: Production) -> list[Criterion]:
    """What a production has to show to count as converged."""
    error = float(production.stderr(tails.accuracy))
    sides = from_training(parameters.walkers)
    judged = [ACCURACY_ERROR.judge(error, parameters.accuracy_error)]
    judged += agreement_criteria(production.sets_agree(tails.accuracy, sides), "the accuracy")
    volumes = tails.of_networks(production.log_p)
    reached = np.isfinite(volumes)
    errors = production.stderr(tails.of_networks)[reached]
    if len(errors):
        judged.append(TAIL_ERROR.judge(errors.max(), parameters.tail_error))
        least = int(np.argmin(np.where(reached, volumes, 0)))
        agreement = production.sets_agree(lambda log_p: tails.of_networks(log_p)[least], sides)
        judged += agreement_criteria(agreement, "the least tail volume")
    top = tails.top(production.log_p)
    few = tails.top(production.sets_met) < 2
    unknown = np.exp(top - logsumexp(top))[few].sum() if np.isfinite(top).any() else 1.0
    return [*judged, UNKNOWN_FITS.judge(unknown), *general_criteria(production)]


def _reference(problem: Problem, rewl: xr.Dataset, base: int) -> tuple[np.ndarray, np.ndarray]:
    """ln Pr[A] of rewl over the band, and its error relative to A = n; gaps are bridged."""
    log_p = rewl["log_g"].values[base:] - problem.space.log_total
    seen = np.flatnonzero(np.isfinite(log_p))
    if not len(seen):
        raise DataError(
            f"rewl met no A from {base} to {len(problem.y_train)}, where joint would start: raise "
            "rewl's budget, or joint's band"
        )
    return np.interp(np.arange(len(log_p)), seen, log_p[seen]), rewl["log_g_stderr"].values[base:]


def _trained(problem: Problem, sources: Mapping[str, xr.Dataset]) -> _Networks:
    """The trained networks that fit."""
    space = problem.space
    samplers, hits, weights = [], [], [np.empty((0, space.size), np.int8)]
    for sampler, result in sources.items():
        if "fitted" in result:
            for own in space.decode(result["weights"].values[result["fitted"].values == 1]):
                samplers.append(sampler)
                weights.append(own[None])
                hits.append(count_correct(problem.network, own, problem.x_test, problem.y_test))
    return _Networks(np.array(samplers, object), np.array(hits, int), np.concatenate(weights))


def _starts(flat: Flat, rewl: xr.Dataset, base: int) -> tuple[np.ndarray, int]:
    """One state of the band for each walker set, from the top walkers of rewl; and a next step."""
    weights = flat.chains.system.space.decode(rewl["state_weights"].values)
    states = States.in_turn(weights, rewl["state_correct"].values, flat.sets)
    band = [(base, flat.grid.size - 1)]
    entered = enter(flat, band, states, 0)
    if entered.bounds != band:
        raise DataError("no walker of rewl could be brought to the band of joint: widen the band")
    return entered.top, entered.walkers.next_step


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


def _result(
    system: Classification,
    moves: int,
    bounds: list[tuple[int, int]],
    joint: _Joint,
    networks: _Networks,
    tails: _Tails,
    produced: Produced,
) -> xr.Dataset:
    production, criteria, levels = produced.production, produced.criteria, system.levels
    n, n_test = len(system.problem.y_train), system.largest_score
    low = np.arange(levels.bins) * levels.width
    fits = np.isfinite(joint.log_p[-1]).any()
    result = common_result(
        test_accuracy=tails.accuracy(production.log_p) if fits else np.nan,
        test_accuracy_stderr=float(production.stderr(tails.accuracy)) if fits else np.nan,
        test_accuracy_df=float(production.df(tails.accuracy)) if fits else np.nan,
        converged=all(criterion.met for criterion in criteria),
        verdict=verdict(criteria),
        moves=moves,
    )

    def known(values, errors):
        return np.where(np.isfinite(values), errors, np.nan)

    tail = tails.of_networks(production.log_p)
    log_g = joint.log_p + system.space.log_total
    both = "A", "accuracy_bin"
    return result.assign_coords(
        A=over("A", np.arange(levels.base, n + 1), "training examples classified correctly"),
        hits_low=over("accuracy_bin", low, "fewest correct test examples of the bin"),
    ).assign(
        log_g_joint=over(both, log_g, "ln joint density of states", "nat"),
        log_g_joint_stderr=over(
            both,
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
        network_sampler=over("network", networks.sampler, "sampler that trained it"),
        network_test_accuracy=over("network", networks.hits / n_test, "test accuracy"),
        tail_log_volume=over(
            "network", tail, "ln Pr[test accuracy at least that of the network | A = n]", "nat"
        ),
        tail_log_volume_stderr=over(
            "network",
            known(tail, production.stderr(tails.of_networks)),
            "standard error of tail_log_volume",
            "nat",
        ),
        reference_agreement=over(
            (), joint.agreement, "probability of a larger chi-squared against g(A) of rewl"
        ),
        window_low=over("window", [low for low, _ in bounds], "lowest bin of the window"),
        window_high=over("window", [high for _, high in bounds], "highest bin of the window"),
        **production.diagnostics(),
    )
