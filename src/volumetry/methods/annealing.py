"""Populations that are annealed: the way from independent draws to the goal.

A population of independent draws is cooled from beta = 0, where all weights are alike, in weights
exp(beta x), until most of its members are at the goal; x is the number of correct training examples
or, tilted, that and a share of the test score. Between two inverse temperatures members are copied
or dropped by their weights exp((beta' - beta) x), and then relaxed by Markov chain moves (Hukushima
& Iba 2003, doi:10.1063/1.1632130; Machta 2010, doi:10.1103/PhysRevE.82.026704; Wang, Machta &
Katzgraber 2015, doi:10.1103/PhysRevE.92.063307). Resampling selects what moves cannot change any
more where x is large: convolution kernels, output weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from volumetry.chains.records import NO_TESTS, Population, Relaxed, Schedule
from volumetry.estimate.populations import (
    Way,
    effective_families,
    effective_lineages,
    log_mean,
    log_mean_of_few,
)
from volumetry.methods.mixing import made_of, most_flips
from volumetry.methods.precision import wanted_accuracy_error
from volumetry.methods.resampling import longest_step, resample
from volumetry.methods.setting import LARGEST_BETA, Setting
from volumetry.parameters import parameter
from volumetry.runtime.progress import Progress
from volumetry.systems.system import System

FIRST_MEMBER = 64
"""Number of the first member of the first anneal: those of others, who are few, come before."""

_ROUNDS = 2
"""Of a rung: the level is looked at after each."""

_MOST = 0.5
"""Share of the members at the goal, or at the largest x there is, that ends an anneal."""

_IDLE_RUNGS = 4
"""With most members at the largest x, and none above."""

_FINAL_TESTS = 8
"""Test evaluations of each member at the end, where they are cheap."""


@dataclass(frozen=True)
class AnnealParameters:
    """What samplers that anneal populations have in common.

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
        "by, or four times as many while they find more than it did; many small populations miss "
        "less than a few.",
    )
    max_anneals: int = parameter(
        16,
        minimum=1,
        unit="anneals",
        stops=True,
        about="Most times that so many populations are annealed.",
    )
    doublings: int = parameter(
        3,
        minimum=0,
        maximum=10,
        unit="times",
        about="Most times that populations give way to others of twice as many members: where they "
        "differ too much, or few lineages are behind a layer's weights.",
    )
    accuracy_error: float = wanted_accuracy_error()

    @property
    def walkers(self) -> int:
        """Members that could be relaxed at the same time."""
        return self.populations * self.members


@dataclass
class Anneal:
    """Populations that went from beta = 0 to the goal, side by side.

    Attributes:
        along: (levels,): x, what beta multiplies.
        family: int (P, members): founder of each member.
        log_z: (P,): ln Z(beta) / Z(0) at the last rung.
        lag: (P,): how much more ln Z is by members that have relaxed, from ln <exp(-step x)> after
            each step, than by those before it, nats: 0 on average in equilibrium. Members that lag
            behind the temperature make it positive, and ln Z by more than that too low.
        made: (2, 1, K): moves of each kind on the last rung, proposed and accepted.
        population: after the last rung.
        beta: of each rung.
        log_zs: of each rung, (P,).
        reference: of each rung, ln Z(beta) / Z(0) as the first anneal found it.
        share: (P, levels): as in ``Way``, of all rungs but the last.
        visits: (P, levels): of the last rung.
        test_counts: (P, N + 1): of members that fit.
        means, squares: (P, n_weights): of the weights, mean over the members at the end.
    """

    along: np.ndarray
    family: np.ndarray
    log_z: np.ndarray
    lag: np.ndarray
    made: np.ndarray
    population: Population
    beta: list[float] = field(default_factory=list)
    log_zs: list[np.ndarray] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    share: np.ndarray | float = 0.0
    visits: np.ndarray | None = None
    test_counts: np.ndarray | None = None
    means: np.ndarray | None = None
    squares: np.ndarray | None = None


def anneal(
    setting: Setting,
    parameters: AnnealParameters,
    seed: int,
    number: int,
    *,
    along: np.ndarray | None = None,
    first: Anneal | None = None,
) -> Anneal:
    """Anneal populations; through the temperatures that they need, or those of a first anneal.

    Args:
        seed: of the run.
        number: of the anneal, 0 for the first: no two of a run have the same, and a later one has
            as many members or more.
        along: (levels,); the coordinate if not given.
        first: an anneal whose ``along``, temperatures and references are those of this one, too.
    """
    grid, groups, members = setting.grid, parameters.populations, parameters.members
    count = groups * members
    betas = first.beta if first else None
    along = first.along if first else grid.coordinate if along is None else along
    rng = np.random.default_rng([seed, number])
    progress = Progress(f"{setting.name}, anneal {number + 1}", "units of beta")
    done = Anneal(
        along,
        np.tile(np.arange(members), (groups, 1)),
        np.zeros(groups),
        np.zeros(groups),
        setting.proposals.none_made(1),
        setting.chains.populate(FIRST_MEMBER + number * count, count),
    )
    beta, parents, idle = 0.0, np.arange(count).reshape(groups, members), 0
    step, before = 0.0, np.zeros(groups)
    while True:
        highest = along[done.population.level].max()
        _relax(setting, done, beta, parents, _ROUNDS, parameters.rung_sweeps)
        if len(done.reference) < len(done.beta):
            known = first.reference[len(done.reference)] if first else log_mean(done.log_z)
            done.reference.append(float(known))
        at = along[done.population.level].reshape(groups, members)
        done.lag = done.lag - log_mean_of_few(-step * at.T) - before
        progress.update(beta, LARGEST_BETA, f"beta {beta:.2f}, mean {at.mean():.1f}")
        # Where most are at the largest x that any can reach, nothing more will come.
        idle = idle + 1 if np.mean(at == at.max()) > _MOST and at.max() <= highest else 0
        fit = grid.goal[done.population.level].mean() > _MOST
        arrived = fit or idle == _IDLE_RUNGS or beta >= LARGEST_BETA
        if len(done.beta) == len(betas) if betas else arrived:
            break
        step = betas[len(done.beta)] - beta if betas else longest_step(at, parameters.overlap)
        beta, before = beta + step, log_mean_of_few(step * at.T)
        log_ratio, parents = resample(step * at, rng)
        done.log_z = done.log_z + log_ratio
        local = parents - members * np.arange(groups)[:, None]
        done.family = np.take_along_axis(done.family, local, axis=1)
    system = setting.chains.system
    rounds, tests = 1, NO_TESTS
    if system.levels.bins == 1:  # else every move tests
        rounds = max(1, _FINAL_TESTS // system.tests_every)
        tests = Schedule(low=int(np.flatnonzero(grid.goal)[0]))
    everybody = np.arange(count)
    relaxed = _relax(setting, done, beta, everybody, rounds, parameters.final_sweeps, tests, True)
    done.test_counts = relaxed.test_counts
    codes = done.population.codes.reshape(groups, members, -1)
    moments = [_moments(system.space.decode(own)) for own in codes]
    done.means, done.squares = np.array(moments).swapaxes(0, 1)
    return done


def _moments(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and mean square of each weight over the members: (n_weights,)."""
    return weights.mean(axis=0, dtype=float), np.square(weights).mean(axis=0, dtype=float)


def _relax(
    setting: Setting,
    done: Anneal,
    beta: float,
    parents: np.ndarray,
    rounds: int,
    sweeps: float,
    tests: Schedule = NO_TESTS,
    keep: bool = False,
) -> Relaxed:
    """Relax the population as another rung, or more on the last one if that has the same beta."""
    relaxed = setting.chains.relax(
        done.population,
        parents.ravel(),
        setting.canonical(beta, setting.proposals.mix(done.made), done.along),
        rounds,
        setting.moves(sweeps, rounds),
        len(done.family),
        tests,
        keep=keep,
    )
    done.population, done.made = relaxed.population, made_of(relaxed)[:, None]
    if done.beta and done.beta[-1] == beta:
        done.visits = done.visits + relaxed.visits
    else:
        if done.beta:
            done.share = shares(done)
        done.beta.append(beta)
        done.log_zs.append(done.log_z)
        done.visits = relaxed.visits
    return relaxed


def shares(done: Anneal) -> np.ndarray:
    """As in ``Way``, of all rungs: (P, levels)."""
    weight = np.exp(done.log_zs[-1] - done.reference[-1]) / done.visits.sum(axis=1)
    return done.share + weight[:, None] * done.visits


def way(anneals: Sequence[Anneal]) -> Way:
    """What anneals along the same x, through the same temperatures, say together."""
    return Way(
        anneals[0].along,
        np.array(anneals[0].beta),
        np.concatenate([np.array(each.log_zs).T for each in anneals]),
        np.array(anneals[0].reference),
        np.concatenate([shares(each) for each in anneals]),
    )


def families(anneals: Sequence[Anneal]) -> np.ndarray:
    """Effective families of each population: (P,)."""
    return np.array([effective_families(own) for each in anneals for own in each.family])


def lags(anneals: Sequence[Anneal]) -> np.ndarray:
    """The lag of each population: (P,), nats."""
    return np.concatenate([each.lag for each in anneals])


def lineages(system: System, anneals: Sequence[Anneal]) -> np.ndarray:
    """Effective lineages by population and layer: (P, layers)."""
    means = np.concatenate([each.means for each in anneals])
    squares = np.concatenate([each.squares for each in anneals])
    layers = [slice(s.first, s.first + s.size) for s in system.segments]
    members = anneals[0].family.shape[1]
    return np.array(
        [effective_lineages(means[:, own], squares[:, own], members) for own in layers]
    ).T
