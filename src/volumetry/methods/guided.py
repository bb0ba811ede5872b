"""Populations that are pulled towards trained networks, to find volume that an anneal passes by.

A field h favours weights w near those of a trained network: exp(beta A + h w.f), where f points
there (its weights themselves, where they are -1 or +1). From independent draws at beta = 0 and
h > 0, beta rises to where an anneal ended, and then the field goes to zero.
Of a large layer it pulls some weights only, or it would take too long to fade.
What such populations end with is an unbiased estimate of the same volume (Hukushima & Iba 2003,
doi:10.1063/1.1632130; Neal 2001, doi:10.1023/A:1008923215028), along a way through the fits that
gradients find.

Members choose the steps that they take, which makes it a little lower (by a seventh for twelve
members of a toy network), never higher.

An unbiased estimate X >= 0 of a volume V can be low for good, where its way misses most of V, but
hardly high: Pr[X >= c V] <= 1 / c (Markov's inequality). So populations that find less this way
tell nothing against the anneal; if they find more, the anneal missed it.
"""

import numpy as np

from volumetry.chains.records import Population, Pull
from volumetry.estimate.populations import log_mean, log_mean_stderr
from volumetry.methods.descent.adam import descend
from volumetry.methods.mixing import made_of
from volumetry.methods.resampling import longest_step, resample
from volumetry.methods.setting import Setting
from volumetry.runtime.netcdf import described
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Classification

AT_A_TIME = 3
"""Trained networks, each with a population of its own."""

_HOPELESS = 10.0
"""Nats: populations that find so much less on average will not find more than the anneal."""

_SUSPICIOUS, _SURER = 0.3, 4
"""Nats: where populations find so much more, up to so many times as many tell if that is so."""

_MEMBERS = 12
"""Of a population; those of all at a time are fewer than ``annealing.FIRST_MEMBER``."""

_FIELD = 1.0
"""h to begin with: of binary weights, one in eight differs from the trained network's."""

_PULLED = 400
"""Most weights of a layer that are pulled."""

_OVERLAP = 0.7
"""Effective share of the members that resampling leaves."""

_ROUNDS = 2

_MOVES = 3000
"""Of a member at each beta or h: many sweeps of a small network. Those of a large one would cost
more than the anneal, and find nothing."""

_MOST_ERROR = np.log(1000) / 3
"""Nats: at three of these Markov's inequality alone gives one in a thousand."""


def guided_log_volumes(
    setting: Setting, guides: int, top: float, log_volume: float, seed: int
) -> np.ndarray:
    """ln V as each guided population has it: (guides,), nats; -inf where no member fits.

    None for systems that are not trained here.

    Fewer than wanted if what they find does not come near to what the anneal found; more while it
    is suspiciously above that. Their members are numbered from 0.

    Args:
        guides: trained networks wanted, each with a population of its own.
        top: the inverse temperature to end at.
        log_volume: what the anneal found; -inf if nothing.
        seed: of the run.
    """
    found, step = np.empty(0), 0
    if not isinstance(setting.chains.system, Classification):
        return found
    progress = Progress(f"{setting.name}, pulled to trained networks", "guides")
    most = guides
    while len(found) < most:
        numbers = range(len(found), min(len(found) + AT_A_TIME, most))
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(found), step)))
        near = np.array([_guide(setting, seed, number, rng) for number in numbers])
        own, step = _pulled_log_volumes(setting, near, top, step, rng)
        found = np.append(found, own)
        mean = log_mean(found)
        if len(found) >= guides:
            more = np.isfinite(log_volume) and mean > log_volume + _SUSPICIOUS
            most = _SURER * guides if more else guides
        progress.update(len(found), most)
        if mean < log_volume - _HOPELESS:
            break
    return found


def _pulled_log_volumes(
    setting: Setting, guides: np.ndarray, top: float, step: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """ln V by a population for each guide, towards which a field (guides, n_weights) points; and
    the step they came to."""
    space, grid, count = setting.chains.system.space, setting.grid, len(guides) * _MEMBERS
    weights = space.draw_pulled(guides, _FIELD, _MEMBERS, rng).reshape(-1, space.size)
    population = Population(space.encode(weights), np.zeros(count, np.int64), 0, step)
    log_z = space.log_mean_pull(guides, _FIELD)
    beta, field, parents = 0.0, _FIELD, np.arange(count)
    made = setting.proposals.none_made(1)
    while True:
        relaxed = setting.chains.relax(
            population,
            parents.ravel(),
            setting.canonical(beta, setting.proposals.mix(made)),
            _ROUNDS,
            space.moves(_MOVES // _ROUNDS),
            len(guides),
            pull=Pull(guides, field),
        )
        population, made = relaxed.population, made_of(relaxed)[:, None]
        if field == 0:
            break
        if beta < top:
            at = grid.coordinate[population.level].reshape(len(guides), _MEMBERS)
            change = min(longest_step(at, _OVERLAP), top - beta)
            beta, log_w = beta + change, change * at
        else:
            at = relaxed.overlap.reshape(len(guides), _MEMBERS)
            change = min(longest_step(-at, _OVERLAP), field)
            field, log_w = field - change, -change * at
        log_ratio, parents = resample(log_w, rng)
        log_z += log_ratio
    visits = relaxed.visits
    share = visits[:, grid.goal].sum(axis=1) / visits.sum(axis=1)
    goal = int(grid.coordinate[grid.goal].min())
    with np.errstate(divide="ignore"):
        return log_z - beta * goal + np.log(share), population.step


def _guide(setting: Setting, seed: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """The field towards a trained network, 0 where nothing is pulled: (n_weights,)."""
    system = setting.chains.system
    trained = descend(system.problem, seed, number)
    guide = np.zeros_like(trained)
    for _, first, size in system.segments:
        pulled = first + rng.choice(size, min(size, _PULLED), replace=False)
        guide[pulled] = trained[pulled]
    return system.space.toward(guide)


def excess(log_volumes: np.ndarray, log_volume: float, stderr: float, wanted: float) -> float:
    """By how many standard errors guided populations find more than an anneal; 0 if less.

    Args:
        log_volumes: (guides,), of the guided ones, nats.
        log_volume, stderr: of the anneal.
        wanted: what is smaller does not matter, nats.
    """
    more = float(log_mean(log_volumes)) - log_volume
    if not more > wanted:
        return 0.0
    if np.isinf(more):  # an anneal that found nothing
        return np.inf
    own = _MOST_ERROR
    if len(log_volumes) > 1:
        own = np.fmin(log_mean_stderr(log_volumes), own)
    return float(more / np.hypot(stderr, own))


def described_guided(log_volumes: np.ndarray):
    """The log-volumes as a variable of a result."""
    text = "log-volume by a population pulled towards a trained network"
    return described("guide", log_volumes, text, "nat")
