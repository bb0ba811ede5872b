"""The joint density of states g(A, Q): how rare each test accuracy is among the fits.

Populations are annealed (``methods.annealing``) in weights exp(beta x) with x = A + r n Q: as if
the test set were to be fitted, too, with r times the weight of the training set. A plain anneal,
r = 0, ends with typical interpolators; *tilted* ones with better and better, until they are as good
as the trained networks. Each way starts from independent draws, so each knows the absolute scale,
and the weights that move slowly are selected for what it looks for. Together the rungs of all ways
give ln g(A, Q), P(Q | A = n) far into its tail, and with it the *tail volume* of a trained network,
ln Pr[Q >= its accuracy | A = n].

Two ways that meet have to agree on the fits that both know. If a tilted one finds more volume than
the plain one, or populations that are pulled towards trained networks do (``methods.guided``), the
plain one has missed it.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

from volumetry.estimate.criteria import (
    ACCURACY_ERROR,
    GOAL_FOUND,
    LINEAGES,
    LINEAGES_OF_ONE,
    NETWORKS_REACHED,
    NO_LAG,
    NOTHING_MISSED,
    NOTHING_MISSED_BY_PLAIN,
    SPREAD,
    TAIL_BIAS,
    TAIL_ERROR,
    WAYS_AGREE,
    Criterion,
    complaints,
    missed,
    verdict,
)
from volumetry.estimate.populations import Populations, lag_p_value, log_mean, log_mean_stderr
from volumetry.estimate.reweighting import jackknife_stderr
from volumetry.methods.annealing import Anneal, AnnealParameters, anneal, lags, lineages, way
from volumetry.methods.costs import MOST_WAYS
from volumetry.methods.descent.adam import descend
from volumetry.methods.effort import Effort, Next
from volumetry.methods.guided import described_guided, excess, guided_log_volumes
from volumetry.methods.result import common_result
from volumetry.methods.setting import Setting
from volumetry.networks.forward import count_correct
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.netcdf import described as over
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Classification, Problem

_TILTS = (0.0, *(2.0**power for power in range(-1, MOST_WAYS - 2)))
"""r, until trained networks are reached; the first three in any case."""

_LEAST_TILTS = 3

_OWN_NETWORKS = 3

_KNOWN = 0.5
"""Share of the populations that a level has to be met by: a jackknife cannot judge what few say."""


@dataclass(frozen=True)
class Parameters(AnnealParameters):
    """Parameters of the sampler.

    A *sweep* is n_weights / flips moves of one member, at least 300.
    """

    bins: int = parameter(
        100,
        minimum=2,
        unit="bins",
        about="Most bins of the number of correct test examples.",
    )
    tail_error: float = parameter(
        0.5,
        above=0,
        unit="nats",
        stops=True,
        about="Wanted standard error of the tail volume of every trained network.",
    )


def run(
    problem: Problem,
    parameters: Parameters,
    seed: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    sources: Mapping[str, xr.Dataset] | None = None,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Joint density of states over (A, test accuracy), and the tail volumes of trained networks.

    Args:
        seed: 64-bit seed; the result depends on it and on the problem and parameters alone.
        threads: members that are relaxed at a time.
        device: cpu or cuda; the result does not depend on it.
        sources: results of samplers that train, on the same problem: their networks get tails.
        checkpoint: of an earlier process; the result does not depend on it.

    Returns:
        The common scalars; over ``A`` (0..n) and ``accuracy_bin``: ``log_g_joint`` (nats) with its
        error; over ``accuracy_bin``: ``log_p_given_fit``, ln Pr[bin | A = n], with its error, and
        ``hits_low``, the fewest correct test examples of the bin; over ``network``: the sampler,
        accuracy and ``tail_log_volume`` of every trained network that fits, with its error, -inf
        where it was not reached, NaN without any fit; over ``way``: its ``tilt`` and the log-volume
        that it found; and over ``way`` and ``layer``: ``lineages``.
    """
    system = Classification.over_accuracy(problem, parameters.bins)
    networks = _trained(problem, sources or {})
    view = _View(system, networks)
    progress = Progress("joint", "anneals of every way")
    with ThreadPoolExecutor(threads) as pool:
        setting = Setting.open(
            "joint", system, parameters, 1, seed, pool, device=device, checkpoint=checkpoint
        )
        best = max(networks.hits.max(initial=0), _best_of_own(problem, seed))
        ways: list[list[Anneal]] = []
        guided, effort = None, Effort(parameters)
        while True:
            ways = _one_more(setting, effort, seed, view, best, ways)
            effort = effort.one_more(len(ways))
            found = Populations([way(each) for each in ways], system.grid.goal)
            if guided is None:
                plain = Populations([way(ways[0])], system.grid.goal)
                known = ways[0][0].beta[-1], plain.log_volume
                guided = guided_log_volumes(setting, parameters.guides, *known, seed)
            criteria = _judge(parameters, view, ways, found, guided)
            said = complaints(criteria)
            progress.update(effort.done, parameters.max_anneals, said[0] if said else "converged")
            follows = effort.follows(missed(criteria))
            if follows is Next.END:
                break
            if follows is Next.LARGER:
                ways, effort = [], effort.larger()
    return _result(view, setting.chains.moves, effort.drawn, ways, found, guided, criteria)


class _Networks(NamedTuple):
    """The trained networks that fit.

    Attributes:
        sampler: (networks,): that trained it.
        hits: int (networks,): correct test examples.
    """

    sampler: np.ndarray
    hits: np.ndarray


def _trained(problem: Problem, sources: Mapping[str, xr.Dataset]) -> _Networks:
    """The trained networks that fit."""
    samplers, hits = [], []
    for sampler, result in sources.items():
        for own in problem.space.decode(result["weights"].values[result["fitted"].values == 1]):
            samplers.append(sampler)
            hits.append(count_correct(problem.network, own, problem.x_test, problem.y_test))
    return _Networks(np.array(samplers, object), np.array(hits, int))


class _View:
    """Levels as A and bins of the test score, and what follows at A = n from ln p over them."""

    def __init__(self, system: Classification, networks: _Networks):
        self.system, self.networks = system, networks
        self.bins, self.width = system.levels.bins, system.levels.width
        self.low = np.arange(self.bins) * self.width
        high = np.minimum(self.low + self.width - 1, system.largest_score)
        self.centre = (self.low + high) / 2
        a, score = np.divmod(np.arange(system.grid.size), self.bins)
        self._a, self._score = a, self.centre[score]

    def along(self, tilt: float) -> np.ndarray:
        """x = A + r n Q: (levels,)."""
        n, tests = len(self.system.problem.y_train), self.system.largest_score
        return self._a + tilt * n / max(1, tests) * self._score

    def top(self, values: np.ndarray) -> np.ndarray:
        """The values at A = n: (..., bins)."""
        return values.reshape(*values.shape[:-1], -1, self.bins)[..., -1, :]

    def accuracy(self, log_p: np.ndarray) -> float:
        """Mean test accuracy at A = n, every bin at its centre."""
        top = self.top(log_p)
        return float(np.exp(top - logsumexp(top)) @ self.centre / self.system.largest_score)

    def tails(self, log_p: np.ndarray) -> np.ndarray:
        """Tail volume of each network: (networks,), nats."""
        return tail_volumes(self.top(log_p), self.networks.hits, self.width)


def _best_of_own(problem: Problem, seed: int) -> int:
    """Most correct test examples of networks trained here: fits as good as these are looked for,
    whatever other networks there are."""
    trained = (descend(problem, seed, number) for number in range(_OWN_NETWORKS))
    return max(
        count_correct(problem.network, own, problem.x_test, problem.y_test) for own in trained
    )


def _one_more(
    setting: Setting,
    effort: Effort,
    seed: int,
    view: _View,
    best: int,
    ways: list[list[Anneal]],
) -> list[list[Anneal]]:
    """Ways with one more anneal each; if there are none, as many as it takes until one has ``best``
    correct test examples on average."""
    numbers = range(effort.done * len(_TILTS), (effort.done + 1) * len(_TILTS))
    if ways:
        return [
            [*each, anneal(setting, effort.each, seed, number, first=each[0])]
            for number, each in zip(numbers, ways)
        ]
    for number, tilt in zip(numbers, _TILTS):
        done = anneal(setting, effort.each, seed, number, along=view.along(tilt))
        ways = [*ways, [done]]
        ended = view.top(done.visits).sum(axis=0)
        reached = ended.any() and ended @ view.centre / ended.sum() >= best
        if len(ways) >= _LEAST_TILTS and reached:
            break
    return ways


def tail_volumes(log_p: np.ndarray, hits: np.ndarray, width: int) -> np.ndarray:
    """ln Pr[at least that many test hits] from ln p over bins, (bins,), up to a constant.

    Inside a bin the logarithm of the tail is interpolated; in the highest that was reached, of
    whose upper end nothing is known, the tail is that of its lower end.
    """
    with np.errstate(invalid="ignore"):
        log_p = log_p - logsumexp(log_p)
        tail = np.append(np.logaddexp.accumulate(log_p[::-1])[::-1], -np.inf)
    low, part = tail[hits // width], hits % width / width
    high = tail[hits // width + 1]
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(high), (1 - part) * low + part * high, low)


def _each_alone(view: _View, found: Populations) -> list[Populations]:
    """What each way says by itself."""
    return [Populations([each], view.system.grid.goal) for each in found.ways]


def _without_one(found: Populations) -> list[np.ndarray]:
    """ln p over levels without each of the populations."""
    return [log_mean(np.delete(found.each, one, axis=0)) for one in range(len(found.each))]


def _stderr(found: Populations, function) -> np.ndarray:
    """Delete-one-population error of a function of ln p over levels."""
    with np.errstate(invalid="ignore"):
        return jackknife_stderr(np.array([function(log_p) for log_p in _without_one(found)]))


def _agreement(view: _View, lower: Populations, upper: Populations) -> float:
    """Probability that two ways differ more about the fits where both have been."""
    tops = [view.top(each.each) for each in (lower, upper)]
    common = np.all([np.isfinite(top).mean(axis=0) >= _KNOWN for top in tops], axis=0)
    if not common.any():
        return 0.0
    own = [logsumexp(top[:, common], axis=1) for top in tops]
    spread = (
        (log_mean(values), log_mean_stderr(values) * np.sqrt(len(values)), len(values))
        for values in own
    )
    return float(stats.ttest_ind_from_stats(*next(spread), *next(spread), equal_var=False).pvalue)


def _judge(
    parameters: Parameters,
    view: _View,
    ways: list[list[Anneal]],
    found: Populations,
    guided: np.ndarray,
) -> list[Criterion]:
    """What a run has to show to count as converged."""
    system = view.system
    n = len(system.problem.y_train)
    highest = np.flatnonzero(np.isfinite(found.log_p))[-1] // view.bins
    goal = GOAL_FOUND.judge(highest, n)
    if not goal.met:
        return [goal]
    alone = _each_alone(view, found)
    plain, tilted = alone[0], alone[1:]
    wanted = parameters.tail_error
    known = plain.log_volume, plain.log_volume_stderr
    excesses = [excess(each.log_volumes, *known, wanted) for each in tilted]
    more = tilted[int(np.argmax(excesses))].log_volume - plain.log_volume
    behind = np.array([lineages(system, each).sum(axis=0) for each in ways])
    layer = behind.argmin() % behind.shape[1]
    of_slowest, name, populations = behind.min(), system.segments[layer].name, len(found.each)
    spread = max(each.log_z[:, -1].var(ddof=1) / 2 for each in found.ways)
    late_by = [lags(each) for each in ways]
    late = [
        lag_p_value(lag, each.log_z[:, -1].std(ddof=1) / np.sqrt(len(lag)))
        for lag, each in zip(late_by, found.ways)
    ]
    latest = int(np.argmin(late))
    tails = view.tails(found.log_p)
    reached = np.isfinite(tails)
    judged = [
        goal,
        NOTHING_MISSED.judge(
            excess(guided, *known, wanted), more=log_mean(guided) - plain.log_volume
        ),
        NOTHING_MISSED_BY_PLAIN.judge(max(excesses), more=more),
        ACCURACY_ERROR.judge(_stderr(found, view.accuracy), parameters.accuracy_error),
        SPREAD.judge(spread),
        TAIL_BIAS.judge(spread / populations, wanted),
        # Of several ways, one lags by chance more often: Bonferroni.
        NO_LAG.judge(min(1.0, len(ways) * late[latest]), lag=late_by[latest].mean()),
        LINEAGES.judge(of_slowest, layer=name),
        LINEAGES_OF_ONE.judge(of_slowest / populations, layer=name),
        NETWORKS_REACHED.judge(int((~reached).sum())),
    ]
    if reached.any():
        errors = np.atleast_1d(_stderr(found, view.tails))[reached]
        judged.append(TAIL_ERROR.judge(errors.max(), wanted))
    for number, pair in enumerate(pairwise(alone)):
        words = {"tilt": _TILTS[number], "next": _TILTS[number + 1]}
        judged.append(WAYS_AGREE.judge(_agreement(view, *pair), **words))
    return judged


def _result(
    view: _View,
    moves: int,
    drawn: int,
    ways: list[list[Anneal]],
    found: Populations,
    guided: np.ndarray,
    criteria: list[Criterion],
) -> xr.Dataset:
    system, populations = view.system, len(found.each)
    n = len(system.problem.y_train)
    fits = criteria[0].met
    log_p = found.log_p.reshape(-1, view.bins)
    judged = np.isfinite(found.each).mean(axis=0) >= _KNOWN
    log_p_stderr = np.where(judged, found.log_p_stderr, np.nan).reshape(-1, view.bins)

    def given_fit(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return view.top(values) - logsumexp(view.top(values))

    nothing = np.full(view.bins, -np.inf), np.full(view.bins, np.nan)
    top, top_stderr = (given_fit(found.log_p), _stderr(found, given_fit)) if fits else nothing
    alone = _each_alone(view, found)
    result = common_result(
        test_accuracy=view.accuracy(found.log_p) if fits else np.nan,
        test_accuracy_stderr=float(_stderr(found, view.accuracy)) if fits else np.nan,
        test_accuracy_df=populations - 1,
        log_volume=found.log_volume if fits else np.nan,
        log_volume_stderr=found.log_volume_stderr if fits else np.nan,
        log_volume_df=populations - 1,
        converged=all(criterion.met for criterion in criteria),
        verdict=verdict(criteria),
        moves=moves,
        guesses=drawn,
    )
    both = "A", "accuracy_bin"
    log_g = log_p + system.space.log_total
    return result.assign_coords(
        A=over("A", np.arange(n + 1), "training examples classified correctly"),
        hits_low=over("accuracy_bin", view.low, "fewest correct test examples of the bin"),
        layer=over("layer", [s.name for s in system.segments], "layer whose weights are meant"),
        tilt=over(
            "way", list(_TILTS[: len(ways)]), "weight of the test set over the training set's"
        ),
    ).assign(
        log_g_joint=over(both, log_g, "ln joint density of states", "nat"),
        log_g_joint_stderr=over(
            both,
            log_p_stderr,
            "standard error of log_g_joint; NaN where few were",
            "nat",
        ),
        log_p_given_fit=over("accuracy_bin", top, "ln Pr[bin | A = n]", "nat"),
        log_p_given_fit_stderr=over(
            "accuracy_bin",
            np.where(view.top(judged), top_stderr, np.nan),
            "standard error of log_p_given_fit",
            "nat",
        ),
        **_placed(view, found),
        log_volume_of_way=over(
            "way", [each.log_volume for each in alone], "log-volume that the way found", "nat"
        ),
        guided_log_volumes=described_guided(guided),
        lineages=over(
            ("way", "layer"),
            [lineages(system, each).sum(axis=0) for each in ways],
            "effective lineages of the weights, all populations",
        ),
    )


def _placed(view: _View, found: Populations) -> dict:
    """Where trained networks stand among the fits, as variables of a result."""
    networks, tail = view.networks, view.tails(found.log_p)
    tail_stderr = np.where(np.isfinite(tail), _stderr(found, view.tails), np.nan)
    tests = view.system.largest_score
    return {
        "network_sampler": over("network", networks.sampler, "sampler that trained it"),
        "network_test_accuracy": over("network", networks.hits / tests, "test accuracy"),
        "tail_log_volume": over(
            "network", tail, "ln Pr[test accuracy at least that of the network | A = n]", "nat"
        ),
        "tail_log_volume_stderr": over(
            "network", tail_stderr, "standard error of tail_log_volume", "nat"
        ),
    }
