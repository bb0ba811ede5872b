"""Population annealing of the number of correct training examples A.

A population of independent draws is cooled from beta = 0, where all weights are alike, in weights
exp(beta A), until most of its members fit. Between two inverse temperatures members are copied or
dropped by their weights exp((beta' - beta) A), and then relaxed by Markov chain moves (Hukushima &
Iba 2003, doi:10.1063/1.1632130; Machta 2010, doi:10.1103/PhysRevE.82.026704; Wang, Machta &
Katzgraber 2015, doi:10.1103/PhysRevE.92.063307). Resampling selects what moves cannot change any
more where A is large: convolution kernels, output weights.

Whole populations are repeated: the spread between them is the error, and the first of them choose
the temperatures of all. Others are pulled towards trained networks (``methods.guided``): if they
find more volume, an anneal passes most of it by.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from volumetry.chains.records import NO_TESTS, Population, Relaxed, Schedule
from volumetry.estimate.criteria import (
    ACCURACY_ERROR,
    BIAS,
    GOAL_FOUND,
    LINEAGES,
    NOTHING_MISSED,
    VOLUME_ERROR,
    Criterion,
    complaints,
    verdict,
)
from volumetry.estimate.populations import (
    Populations,
    effective_families,
    effective_lineages,
    log_mean,
)
from volumetry.methods.guided import described_guided, excess, guided_log_volumes
from volumetry.methods.mixing import made_of, most_flips
from volumetry.methods.precision import nats_wanted, wanted_accuracy_error, wanted_ln_v_error
from volumetry.methods.resampling import longest_step, resample
from volumetry.methods.result import common_result
from volumetry.methods.setting import LARGEST_BETA, Setting
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.netcdf import described as over
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Classification, Problem

_ROUNDS = 2
"""Of a rung: the level is looked at after each."""

_MOST = 0.5
"""Share of the members at the goal, or at the highest level there is, that ends an anneal."""

_IDLE_RUNGS = 4
"""With most members at the highest level, and none above."""

_ANNEALS_IN_VAIN = 2
"""After so many, what anneals did not find they will not find."""

_FINAL_TESTS = 8
"""Test evaluations of each member at the end, where they are cheap."""

_MOST_STATES = 64


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler.

    A *sweep* is n_weights / flips moves of one member, at least 300.
    """

    flips: int = most_flips()
    members: int = parameter(
        100,
        minimum=10,
        maximum=1_000_000,
        unit="members",
        about="Members (replicas) of a population.",
    )
    populations: int = parameter(
        4, minimum=3, maximum=1000, unit="populations", about="Populations annealed side by side."
    )
    overlap: float = parameter(
        0.7,
        above=0,
        below=1,
        unit="fraction",
        about="Effective share of the members that resampling for the next temperature leaves; "
        "more means more temperatures.",
    )
    rung_sweeps: float = parameter(
        2.0, above=0, unit="sweeps", about="Length of the relaxation at each temperature."
    )
    final_sweeps: float = parameter(
        2.0, above=0, unit="sweeps", about="Length of the relaxation at the last temperature."
    )
    guides: int = parameter(
        12,
        minimum=1,
        maximum=1000,
        unit="networks",
        about="Most trained networks near which populations look for volume that the anneal passes "
        "by; many small populations miss less than a few.",
    )
    max_anneals: int = parameter(
        16,
        minimum=1,
        unit="anneals",
        stops=True,
        about="Most times that so many populations are annealed.",
    )
    ln_v_error: float = wanted_ln_v_error()
    accuracy_error: float = wanted_accuracy_error()

    @property
    def walkers(self) -> int:
        """Members that could be relaxed at the same time."""
        return self.populations * self.members


@dataclass
class _Anneal:
    """Populations that go from beta = 0 to the goal, side by side.

    Attributes:
        family: int (P, members): founder of each member.
        log_z: (P,): ln Z(beta) / Z(0) at the last rung.
        beta: of each rung.
        log_zs: of each rung, (P,).
        visits: of each rung, (P, levels).
        made: (2, 1, K): moves of each kind on the last rung, proposed and accepted.
        population: after the last rung.
        test_counts: (P, N + 1): of members that fit.
        means: (P, n_weights): mean over the members at the end.
    """

    family: np.ndarray
    log_z: np.ndarray
    made: np.ndarray
    population: Population
    beta: list[float] = field(default_factory=list)
    log_zs: list[np.ndarray] = field(default_factory=list)
    visits: list[np.ndarray] = field(default_factory=list)
    test_counts: np.ndarray | None = None
    means: np.ndarray | None = None


def run(
    problem: Problem,
    parameters: Parameters,
    seed: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Density of states ln g(A), log-volume and accuracy of the typical interpolator.

    Args:
        seed: 64-bit seed; the result depends on it and on the problem and parameters alone.
        threads: members that are relaxed at a time.
        device: cpu or cuda; the result does not depend on it.
        checkpoint: of an earlier process; the result does not depend on it either.

    Returns:
        The common scalars and, over ``A`` (0..n): ``log_g`` and its error; over ``rung``: the
        temperatures; over ``population``: its ln V, families and, by ``layer``, lineages; over
        ``state``: weights of members at A = n.
    """
    system = Classification.over_correct(problem)
    anneals: list[_Anneal] = []
    progress = Progress("population_annealing", "anneals")
    with ThreadPoolExecutor(threads) as pool:
        setting = Setting.open(
            "population_annealing",
            system,
            parameters,
            1,
            seed,
            pool,
            device=device,
            checkpoint=checkpoint,
        )
        while True:
            betas = anneals[0].beta if anneals else None
            anneals.append(_anneal(setting, parameters, seed, len(anneals), betas))
            found = _estimate(system, anneals)
            if len(anneals) == 1:
                known = found.beta[-1], found.log_volume
                guided = guided_log_volumes(setting, parameters.guides, *known, seed)
            criteria = _judge(parameters, system, anneals, found, guided)
            said = complaints(criteria)
            note = said[0] if said else "converged"
            progress.update(len(anneals), parameters.max_anneals, note)
            lost = not all(c.met for c in criteria[:2]) and len(anneals) == _ANNEALS_IN_VAIN
            if not said or lost or len(anneals) == parameters.max_anneals:
                break
    return _result(system, setting.chains.moves, anneals, found, guided, criteria)


def _anneal(
    setting: Setting, parameters: Parameters, seed: int, number: int, betas: list[float] | None
) -> _Anneal:
    """Anneal populations; through the temperatures given, or through those that they need."""
    grid, groups, members = setting.grid, parameters.populations, parameters.members
    count = groups * members
    rng = np.random.default_rng([seed, number])
    progress = Progress(f"{setting.name}, anneal {number + 1}", "units of beta")
    done = _Anneal(
        np.tile(np.arange(members), (groups, 1)),
        np.zeros(groups),
        setting.proposals.none_made(1),
        setting.chains.populate((number + 1) * count, count),  # guided ones come first
    )
    beta, parents, idle = 0.0, np.arange(count).reshape(groups, members), 0
    while True:
        highest = grid.coordinate[done.population.level].max()
        _relax(setting, done, beta, parents, _ROUNDS, parameters.rung_sweeps)
        at = grid.coordinate[done.population.level].reshape(groups, members)
        progress.update(beta, LARGEST_BETA, f"beta {beta:.2f}, mean coordinate {at.mean():.1f}")
        # Where most are at the highest coordinate that any can reach, nothing more will come.
        idle = idle + 1 if np.mean(at == at.max()) > _MOST and at.max() <= highest else 0
        fit = grid.goal[done.population.level].mean() > _MOST
        arrived = fit or idle == _IDLE_RUNGS or beta >= LARGEST_BETA
        if len(done.beta) == len(betas) if betas else arrived:
            break
        step = betas[len(done.beta)] - beta if betas else longest_step(at, parameters.overlap)
        beta += step
        log_mean, parents = resample(step * at, rng)
        done.log_z = done.log_z + log_mean
        local = parents - members * np.arange(groups)[:, None]
        done.family = np.take_along_axis(done.family, local, axis=1)
    goal = int(np.flatnonzero(grid.goal)[0])
    rounds = max(1, _FINAL_TESTS // setting.chains.system.tests_every)
    tests = Schedule(low=goal)
    everybody = np.arange(count)
    relaxed = _relax(setting, done, beta, everybody, rounds, parameters.final_sweeps, tests)
    done.test_counts = relaxed.test_counts
    codes = done.population.codes.reshape(groups, members, -1)
    done.means = np.array([setting.chains.system.space.decode(own).mean(axis=0) for own in codes])
    return done


def _relax(
    setting: Setting,
    done: _Anneal,
    beta: float,
    parents: np.ndarray,
    rounds: int,
    sweeps: float,
    tests: Schedule = NO_TESTS,
) -> Relaxed:
    """Relax the population as another rung, or more on the last one if that has the same beta."""
    relaxed = setting.chains.relax(
        done.population,
        parents.ravel(),
        setting.canonical(beta, setting.proposals.mix(done.made)),
        rounds,
        setting.moves(sweeps, rounds),
        len(done.family),
        tests,
        keep=tests != NO_TESTS,
    )
    done.population, done.made = relaxed.population, made_of(relaxed)[:, None]
    if done.beta and done.beta[-1] == beta:
        done.visits[-1] = done.visits[-1] + relaxed.visits
    else:
        done.beta.append(beta)
        done.log_zs.append(done.log_z)
        done.visits.append(relaxed.visits)
    return relaxed


def _estimate(system: Classification, anneals: list[_Anneal]) -> Populations:
    goal = system.grid.goal
    return Populations(
        np.array(anneals[0].beta),
        np.concatenate([np.array(each.log_zs).T for each in anneals]),
        np.concatenate([np.array(each.visits).swapaxes(0, 1) for each in anneals]),
        system.grid.coordinate,
        goal,
        np.concatenate([each.test_counts for each in anneals]),
    )


def _families(anneals: list[_Anneal]) -> np.ndarray:
    return np.array([effective_families(own) for each in anneals for own in each.family])


def _lineages(system: Classification, anneals: list[_Anneal]) -> np.ndarray:
    """Effective lineages by population and layer."""
    means = np.concatenate([each.means for each in anneals])
    by_layer = (means[:, s.first : s.first + s.size] for s in system.segments)
    return np.array([effective_lineages(part) for part in by_layer]).T


def _judge(
    parameters: Parameters,
    system: Classification,
    anneals: list[_Anneal],
    found: Populations,
    guided: np.ndarray,
) -> list[Criterion]:
    """What a run has to show to count as converged."""
    n = system.grid.size - 1
    reached = np.flatnonzero(np.isfinite(found.log_p))[-1]
    wanted = nats_wanted(parameters.ln_v_error, found.log_p[reached])
    goal = GOAL_FOUND.judge(reached, n)
    if not goal.met:
        return [goal]
    lineages = _lineages(system, anneals).sum(axis=0)
    slowest = int(lineages.argmin())
    more = excess(guided, found.log_volume, found.log_volume_stderr, wanted)
    return [
        goal,
        NOTHING_MISSED.judge(more, more=log_mean(guided) - found.log_volume),
        VOLUME_ERROR.judge(found.log_volume_stderr, wanted),
        ACCURACY_ERROR.judge(found.accuracy_stderr, parameters.accuracy_error),
        BIAS.judge(found.bias, wanted),
        LINEAGES.judge(lineages[slowest], layer=system.segments[slowest].name),
    ]


def _result(
    system: Classification,
    moves: int,
    anneals: list[_Anneal],
    found: Populations,
    guided: np.ndarray,
    criteria: list[Criterion],
) -> xr.Dataset:
    n = system.grid.size - 1
    reached = criteria[0].met
    result = common_result(
        test_accuracy=found.accuracy,
        test_accuracy_stderr=found.accuracy_stderr,
        test_accuracy_df=len(found.log_volumes) - 1,
        log_volume=found.log_volume if reached else np.nan,
        log_volume_stderr=found.log_volume_stderr if reached else np.nan,
        log_volume_df=len(found.log_volumes) - 1,
        converged=all(criterion.met for criterion in criteria),
        verdict=verdict(criteria),
        moves=moves,
        guesses=sum(each.family.size for each in anneals),
    )
    codes = np.concatenate([each.population.codes for each in anneals])
    level = np.concatenate([each.population.level for each in anneals])
    fits = np.flatnonzero(system.grid.goal[level])
    kept = fits[:: max(1, len(fits) // _MOST_STATES)][:_MOST_STATES]
    known = np.isfinite(found.log_p)
    return result.assign_coords(
        A=over("A", np.arange(n + 1), "training examples classified correctly"),
        layer=over("layer", [s.name for s in system.segments], "layer whose weights are meant"),
        test_correct=over(
            "test_correct",
            np.arange(system.largest_score + 1),
            "test examples classified correctly",
        ),
    ).assign(
        log_g=over("A", found.log_p + system.space.log_total, "ln density of states", "nat"),
        log_g_stderr=over(
            "A", np.where(known, found.log_p_stderr, np.nan), "standard error of log_g", "nat"
        ),
        beta=over("rung", found.beta, "inverse temperature"),
        log_z=over(("population", "rung"), found.log_z, "ln Z(beta) / Z(0)", "nat"),
        log_volume_of_population=over(
            "population", found.log_volumes, "log-volume that the population found", "nat"
        ),
        guided_log_volumes=described_guided(guided),
        families=over("population", _families(anneals), "effective families among the members"),
        lineages=over(
            ("population", "layer"), _lineages(system, anneals), "effective lineages of the weights"
        ),
        score_shares=over(
            "test_correct", found.score_shares, "fraction of the interpolators with that score"
        ),
        state_correct=over("state", system.grid.coordinate[level[kept]], "A of the state"),
        state_weights=over(
            ("state", "byte"), codes[kept], "weights of the state, one bit each, 1 for +1"
        ),
    )
