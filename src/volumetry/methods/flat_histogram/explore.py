"""The exploratory pass: an anneal from beta = 0 to both ends of the coordinate."""

from dataclasses import dataclass, field

import numpy as np

from volumetry.chains.records import Advance, Mixture, Tally, Walkers
from volumetry.estimate.production import Uniform
from volumetry.estimate.reweighting import multi_histogram, statistical_inefficiency
from volumetry.methods.flat_histogram.setting import Bounds, Flat, States
from volumetry.methods.mixing import made_of
from volumetry.methods.setting import LARGEST_BETA
from volumetry.runtime.progress import Progress

RUNG_ROUNDS = 32


@dataclass(frozen=True)
class Ladder:
    """What the exploratory pass found.

    Attributes:
        log_p: (levels,): a first ln of the probability of a level; -inf where never seen.
        counts, log_weight: (ensembles, levels): effective samples and ln weights of the uniform
            draws and of every rung.
        change_rate: (levels,): fraction of moves that change the level, at each level seen.
        persistence: (coordinates,): moves until the coordinate is forgotten, at the value nearest
            to a rung's mean.
        climbed, fallen: weights met on the way to either end.
        beta, mean: (rungs,): the inverse temperatures and the mean of the coordinate there.
        made: (2, rungs, K): moves of each kind proposed there, and accepted.
        next_step: beyond the random numbers that were used.
    """

    log_p: np.ndarray
    counts: np.ndarray
    log_weight: np.ndarray
    change_rate: np.ndarray
    persistence: np.ndarray
    climbed: States
    fallen: States
    beta: np.ndarray
    mean: np.ndarray
    made: np.ndarray
    next_step: int

    def longest_persistence(self, bounds: Bounds) -> np.ndarray:
        """Moves until the most persistent coordinate of each window is forgotten: (W,)."""
        return np.array([self.persistence[low : high + 1].max() for low, high in bounds])

    def made_in(self, bounds: Bounds) -> np.ndarray:
        """Moves of each kind on the rungs in each window, or on the nearest: (2, W, K)."""
        low, high = np.array(bounds).T[:, :, None]
        outside = np.maximum(low - self.mean, self.mean - high).clip(0)
        nearest = outside == outside.min(axis=1, keepdims=True)
        return nearest.astype(float) @ self.made


@dataclass(frozen=True)
class Anneal:
    """How far the exploratory pass goes.

    Attributes:
        rung_sweeps: sweeps of each walker at each temperature.
        goal: going up, walkers at the highest coordinate met are not at the end below this one.
    """

    rung_sweeps: float
    goal: int = 0


@dataclass
class _Rungs:
    """What the rungs so far have told."""

    betas: list[float] = field(default_factory=list)
    visits: list[np.ndarray] = field(default_factory=list)
    traces: list[np.ndarray] = field(default_factory=list)
    made: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)


def explore(flat: Flat, anneal: Anneal, starts: np.ndarray, uniform: Uniform) -> Ladder:
    """Anneal every set from beta = 0 to both ends; join the rungs to a first ln p.

    Args:
        starts: (sets, n_weights).
        uniform: the ensemble at beta = 0.
    """
    grid = flat.grid
    rungs = _Rungs()
    changes, visits = np.zeros((2, grid.size))
    moves = flat.moves(anneal.rung_sweeps, RUNG_ROUNDS)
    met, step = [0], 0
    for direction in (1.0, -1.0):
        walkers = flat.chains.place(starts[:, None, :], step)
        walkers = _anneal(flat, anneal, walkers, moves, direction, uniform, rungs, changes, visits)
        step = walkers.next_step
        met.append(len(rungs.levels))
    states = States.in_turn(np.array(rungs.weights), np.array(rungs.levels), flat.sets)
    slowness = np.array([statistical_inefficiency(trace) for trace in rungs.traces])
    counts = [c / c.sum() * t.size / s for c, t, s in zip(rungs.visits, rungs.traces, slowness)]
    means = np.array([np.average(grid.coordinate, weights=c) for c in rungs.visits])
    weights = [beta * grid.coordinate for beta in rungs.betas]
    counts.insert(0, uniform.visits.sum(axis=0))
    weights.insert(0, np.zeros(grid.size))
    log_p, _ = multi_histogram(np.array(counts), np.array(weights))
    by_mean, by_beta = np.argsort(means), np.argsort(rungs.betas)
    values = np.arange(grid.n_coordinates)
    with np.errstate(invalid="ignore"):  # a level left at once was never counted
        change_rate = changes / np.maximum(visits, changes)
    return Ladder(
        log_p,
        np.array(counts),
        np.array(weights),
        change_rate,
        np.interp(values, means[by_mean], slowness[by_mean] * moves),
        states.only(slice(met[1])),
        states.only(slice(met[1], None)),
        np.array(rungs.betas)[by_beta],
        means[by_beta],
        np.array(rungs.made)[by_beta].swapaxes(0, 1),
        step,
    )


def _anneal(
    flat: Flat,
    anneal: Anneal,
    walkers: Walkers,
    moves: int,
    direction: float,
    uniform: Uniform,
    rungs: _Rungs,
    changes: np.ndarray,
    visits: np.ndarray,
) -> Walkers:
    """Anneal to one end; adds to ``rungs``, and to the counts of ``changes`` and ``visits``."""
    coordinate, n_coordinates = flat.grid.coordinate, flat.grid.n_coordinates
    values = np.arange(n_coordinates)
    progress = Progress(f"{flat.name}, exploratory pass", "units of beta")
    beta, at_end = 0.0, 0
    made = flat.proposals.none_made(1)
    spread = np.repeat(coordinate, uniform.visits.sum(axis=0)).std()
    while abs(beta) < LARGEST_BETA and at_end < 2:
        # Neighbouring rungs overlap when the mean moves by about one standard deviation.
        beta += direction * min(1.0, 1.0 / max(spread, 1e-9))
        found = run_rung(flat, walkers, beta, moves, flat.proposals.mix(made))
        walkers, tally = found.walkers, found.tally
        made = made_of(tally)
        moved = _note(rungs, flat, beta, found)
        rung = tally.visits.sum(axis=(0, 1))
        changes += tally.changes.sum(axis=(0, 1))
        visits += rung
        by_value = np.bincount(coordinate, rung, n_coordinates)
        mean = np.average(values, weights=by_value)
        spread = np.sqrt(np.average((values - mean) ** 2, weights=by_value))
        seen = np.flatnonzero(np.bincount(coordinate, visits))
        end = seen[-1] if direction > 0 else seen[0]
        arrived = by_value[end] > 0.5 * by_value.sum() and (direction < 0 or end >= anneal.goal)
        at_end = at_end + 1 if arrived or not moved else 0
        note = f"beta {beta:.2f}, mean coordinate {mean:.1f}"
        progress.update(abs(beta), LARGEST_BETA, note)
    return walkers


def run_rung(flat: Flat, walkers: Walkers, beta: float, moves: int, mixture: Mixture) -> Advance:
    """Rounds at one temperature, after a third as many in which the walkers settle."""
    windows = flat.canonical(beta, mixture)
    settled = flat.chains.advance(walkers, windows, RUNG_ROUNDS // 4, moves)
    return flat.chains.advance(settled.walkers, windows, RUNG_ROUNDS * 3 // 4, moves)


def _note(rungs: _Rungs, flat: Flat, beta: float, found: Advance) -> bool:
    """Add a rung; whether any walker moved."""
    tally: Tally = found.tally
    # A walker that never left its level says nothing about how that compares.
    moved = tally.changes.any(axis=(1, 2))
    telling = moved if rungs.betas else np.ones_like(moved)
    if telling.any():
        rungs.betas.append(beta)
        rungs.visits.append(tally.visits[:, 0][telling].sum(axis=0))
        rungs.traces.append(flat.grid.coordinate[tally.trace[:, 0][telling]])
        rungs.made.append(made_of(tally)[:, 0])
    rungs.weights.extend(found.top)
    rungs.levels.extend(found.walkers.level[:, 0].tolist())
    return bool(moved.any())
