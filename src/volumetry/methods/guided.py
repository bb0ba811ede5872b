"""Populations that are pulled towards trained networks, to find volume that an anneal passes by.

A field h favours weights w near those of a trained network t: exp(beta A + h w.t). From independent
draws at beta = 0 and h > 0, beta rises to where an anneal ended, and then the field goes to zero.
Of a large layer it pulls some weights only, or it would take too long to fade.
What such populations end with is an unbiased estimate of the same volume (Hukushima & Iba 2003,
doi:10.1063/1.1632130; Neal 2001, doi:10.1023/A:1008923215028), along a way through the fits that
gradients find.

An unbiased estimate X >= 0 of a volume V can be low for good, where its way misses most of V, but
hardly high: Pr[X >= c V] <= 1 / c (Markov's inequality). So populations that find less this way
tell nothing against the anneal; if they find more, the anneal missed it.
"""

import numpy as np

from volumetry.chains.records import Population, Pull
from volumetry.estimate.populations import log_mean, log_mean_stderr
from volumetry.methods.descent import descend
from volumetry.methods.mixing import made_of
from volumetry.methods.resampling import longest_step, resample
from volumetry.methods.setting import Setting
from volumetry.runtime.netcdf import described
from volumetry.runtime.progress import Progress

GUIDES = 4
"""Trained networks, each with a population of its own."""

_FIELD = 1.0
"""h to begin with: one weight in eight differs from the trained network's."""

_PULLED = 400
"""Most weights of a layer that are pulled."""

_OVERLAP = 0.7
"""Effective share of the members that resampling leaves."""

_ROUNDS = 2

_LEAST_MOVES = 3000
"""Of a member at each beta or h: a sweep, or more of a small network."""

_MOST_ERROR = np.log(1000) / 3
"""Nats: at three of these Markov's inequality alone gives one in a thousand."""


def guided_log_volumes(setting: Setting, members: int, top: float, seed: int) -> np.ndarray:
    """ln V as each guided population has it: (GUIDES,), nats; -inf where no member fits.

    Args:
        members: of a population; they are numbered from 0.
        top: the inverse temperature to end at.
        seed: of the run.
    """
    space, grid = setting.chains.system.space, setting.grid
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(GUIDES, members)))
    guides = np.array([_guide(setting, seed, guide, rng) for guide in range(GUIDES)])
    weights = _draw_near(guides, members, rng).reshape(-1, space.size)
    count = GUIDES * members
    population = Population(space.encode(weights), np.zeros(count, np.int64), 0, 0)
    log_z = np.abs(guides).sum(axis=1) * np.log(np.cosh(_FIELD))
    beta, field, parents = 0.0, _FIELD, np.arange(count)
    made = setting.proposals.none_made(1)
    progress = Progress(f"{setting.name}, pulled to trained networks", "units of h")
    while True:
        relaxed = setting.chains.relax(
            population,
            parents.ravel(),
            setting.canonical(beta, setting.proposals.mix(made)),
            _ROUNDS,
            space.moves(max(setting.sweep, _LEAST_MOVES) // _ROUNDS),
            GUIDES,
            pull=Pull(guides, field),
        )
        population, made = relaxed.population, made_of(relaxed)[:, None]
        progress.update(_FIELD - field, _FIELD, f"beta {beta:.2f}, h {field:.3f}")
        if field == 0:
            break
        if beta < top:
            at = grid.coordinate[population.level].reshape(GUIDES, members)
            step = min(longest_step(at, _OVERLAP), top - beta)
            beta, log_w = beta + step, step * at
        else:
            at = relaxed.overlap.reshape(GUIDES, members)
            step = min(longest_step(-at, _OVERLAP), field)
            field, log_w = field - step, -step * at
        change, parents = resample(log_w, rng)
        log_z += change
    visits = relaxed.visits
    share = visits[:, grid.goal].sum(axis=1) / visits.sum(axis=1)
    goal = int(grid.coordinate[grid.goal].min())
    with np.errstate(divide="ignore"):
        return log_z - beta * goal + np.log(share)


def _guide(setting: Setting, seed: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """A trained network, 0 where nothing is pulled: int8 (n_weights,)."""
    system = setting.chains.system
    trained, _ = descend(system.problem, seed, number)
    guide = np.zeros_like(trained)
    for _, first, size in system.segments:
        pulled = first + rng.choice(size, min(size, _PULLED), replace=False)
        guide[pulled] = trained[pulled]
    return guide


def _draw_near(guides: np.ndarray, members: int, rng: np.random.Generator) -> np.ndarray:
    """Independent draws with weights exp(h w.t): int8 (guides, members, n_weights)."""
    likely = 1 / (1 + np.exp(-2 * _FIELD * guides))
    draws = rng.random((len(guides), members, guides.shape[1])) < likely[:, None]
    return np.where(draws, 1, -1).astype(np.int8)


def excess(log_volumes: np.ndarray, log_volume: float, stderr: float, wanted: float) -> float:
    """By how many standard errors guided populations find more than an anneal; 0 if less.

    Args:
        log_volumes: (GUIDES,), of the guided ones, nats.
        log_volume, stderr: of the anneal.
        wanted: what is smaller does not matter, nats.
    """
    more = float(log_mean(log_volumes)) - log_volume
    if more <= wanted:
        return 0.0
    own = np.fmin(log_mean_stderr(log_volumes), _MOST_ERROR)
    return float(more / np.hypot(stderr, own))


def described_guided(log_volumes: np.ndarray):
    """The log-volumes as a variable of a result."""
    text = "log-volume by a population pulled towards a trained network"
    return described("guide", log_volumes, text, "nat")
