"""Starts from both sides: from an anneal, and from networks that gradients found.

An anneal comes to the fits that its way leads to; training comes to others. Every other walker set
starts from the latter, heated down through all windows. If the sets agree in the end, neither side
holds fits that the other cannot reach.
"""

import numpy as np

from volumetry.chains.records import Population
from volumetry.methods.descent import adam, sensing  # noqa: F401, their answers
from volumetry.methods.descent.problem import descend
from volumetry.methods.flat_histogram.explore import RUNG_ROUNDS, Ladder
from volumetry.methods.flat_histogram.setting import Flat, States
from volumetry.runtime.progress import Progress

_FIRST = 2**20
"""Number of the first walker that is heated: its random numbers are those of no other stage."""


def from_training(sets: int) -> np.ndarray:
    """Whether a set starts from a trained network: bool (sets,)."""
    return np.arange(sets) % 2 == 1


def both_sides(flat: Flat, ladder: Ladder, rung_sweeps: float, trained: States) -> States:
    """What the sets met: half of them on the way up, the others on the way down from training.

    Args:
        ladder: of the way up, whose inverse temperatures the way down goes through.
        rung_sweeps: sweeps at each of them.
        trained: networks of the sets that start from them.
    """
    if not len(trained.levels):
        return ladder.climbed + ladder.fallen
    climbed = ladder.climbed.only(~from_training(flat.sets)[ladder.climbed.owner])
    return climbed + ladder.fallen + _heat(flat, ladder, rung_sweeps, trained)


def train(flat: Flat, seed: int) -> States:
    """A network for each set that starts from one; it fits, or comes close.

    Those that come not close enough for any level are left out.

    Args:
        seed: of the run.
    """
    system = flat.chains.system
    owners = np.flatnonzero(from_training(flat.sets))
    progress = Progress(f"{flat.name}, training", "networks")
    weights = np.empty((len(owners), system.space.size), system.space.dtype)
    levels = np.empty(len(owners), np.int64)
    for number, owner in enumerate(owners):
        weights[number] = descend(system.problem, seed, int(owner))
        levels[number], _ = system.observe(weights[number])
        progress.update(number + 1, len(owners), f"{system.level_name} {levels[number]}")
    return States.trained(weights, levels, owners).only(levels >= 0)


def _heat(flat: Flat, ladder: Ladder, rung_sweeps: float, top: States) -> States:
    """What is met on the way down from states, through the ladder to beta = 0; they included."""
    space = flat.chains.system.space
    population = Population(space.encode(top.weights), top.levels, _FIRST, 0)
    everyone, met = np.arange(len(top.levels)), top
    upper = np.flatnonzero(ladder.beta > 0)[::-1]
    progress = Progress(f"{flat.name}, from trained networks down", "temperatures")
    for done, rung in enumerate(upper, 1):
        relaxed = flat.chains.relax(
            population,
            everyone,
            flat.canonical(ladder.beta[rung], flat.proposals.mix(ladder.made[:, rung, None])),
            RUNG_ROUNDS,
            flat.moves(rung_sweeps, RUNG_ROUNDS),
            1,
            keep=True,
        )
        population = relaxed.population
        met += States.trained(space.decode(population.codes), population.level, top.owner)
        progress.update(done, len(upper))
    return met
