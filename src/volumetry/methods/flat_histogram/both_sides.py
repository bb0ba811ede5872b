"""Starts from both sides: from an anneal, and from networks that gradients found.

An anneal comes to the fits that its way leads to; training comes to others. Every other walker set
starts from the latter, heated down through all windows. If the sets agree in the end, neither side
holds fits that the other cannot reach.
"""

import numpy as np

from volumetry.chains.records import Population
from volumetry.methods.descent import descend
from volumetry.methods.flat_histogram.explore import RUNG_ROUNDS, Ladder
from volumetry.methods.flat_histogram.setting import Flat, States
from volumetry.runtime.progress import Progress


def from_training(sets: int) -> np.ndarray:
    """Whether a set starts from a trained network: bool (sets,)."""
    return np.arange(sets) % 2 == 1


def both_sides(flat: Flat, ladder: Ladder, rung_sweeps: float, seed: int) -> States:
    """What the sets met: half of them on the way up, the others on the way down from training.

    Args:
        ladder: of the way up, whose inverse temperatures the way down goes through.
        rung_sweeps: sweeps at each of them.
        seed: of the run.
    """
    trained = from_training(flat.sets)
    own = ladder.climbed.only(~trained[ladder.climbed.owner])
    return own + ladder.fallen + _heat(flat, ladder, rung_sweeps, _train(flat, trained, seed))


def _train(flat: Flat, trained: np.ndarray, seed: int) -> States:
    """A trained network for each set that starts from one; it may fit, or come close."""
    system = flat.chains.system
    owners = np.flatnonzero(trained)
    progress = Progress(f"{flat.name}, training", "networks")
    weights = np.empty((len(owners), system.space.size), np.int8)
    for number, owner in enumerate(owners):
        stream = np.random.SeedSequence(seed, spawn_key=(int(owner),))
        weights[number], correct = descend(system.problem, np.random.default_rng(stream))
        progress.update(number + 1, len(owners), f"{correct} examples right")
    levels = np.array([system.observe(own)[0] for own in weights], np.int64)
    return States(weights, levels, owners)


def _heat(flat: Flat, ladder: Ladder, rung_sweeps: float, top: States) -> States:
    """What is met on the way down from states, through the ladder to beta = 0; they included."""
    space = flat.chains.system.space
    population = Population(space.encode(top.weights), top.levels, 0, 0)
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
        met += States(space.decode(population.codes), population.level, top.owner)
        progress.update(done, len(upper))
    return met
