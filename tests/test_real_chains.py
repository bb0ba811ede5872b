"""Chains of real weights: what they say of walkers is true, however they are called."""

import numpy as np
import pytest

from volumetry.chains import window_real
from volumetry.chains.cpu import CpuChains
from volumetry.chains.records import Mixture, Pull, Windows
from volumetry.networks.real import build_real_network
from volumetry.systems.classification import Classification, Problem

SETS, WINDOWS = 2, 3


def pose(prior="gaussian", n=12, **more):
    network = build_real_network(
        ["linear 5"], (6,), 3, prior=prior, **({"biases": True, "input_bound": 4} | more)
    )
    rng = np.random.default_rng(0)
    x, y = rng.integers(-4, 5, (40, 6)), rng.integers(0, 3, 40)
    return Problem(network, x[:n], y[:n], x[n:], y[n:], x[:0], y[:0])


SYSTEMS = {
    "over A": Classification.over_correct(pose()),
    "over A and Q": Classification.over_accuracy(pose("uniform"), 4),
}


@pytest.fixture(params=SYSTEMS)
def system(request):
    return SYSTEMS[request.param]


def windows(system):
    """Of which each takes every level, with weights of their own, and moves of several kinds."""
    kinds = system.space.kinds(system.segments, 4)
    weight = np.random.default_rng(1).normal(size=(WINDOWS, system.grid.size))
    mixture = Mixture.of(kinds, np.ones((WINDOWS, len(kinds))))
    return Windows.fixed(weight, np.zeros(WINDOWS, np.int64), mixture)


def starts(system):
    rng = np.random.default_rng(2)
    return np.array([[system.space.draw(rng) for _ in range(WINDOWS)] for _ in range(SETS)])


def test_levels_are_those_of_the_forward_pass(system, monkeypatch):
    """Also where all values have just been computed anew."""
    chains = CpuChains(system, 4, SETS, 5)
    found = chains.advance(
        chains.place(starts(system)), windows(system), 3, window_real.REFRESH // 2
    )
    weights = system.space.decode(chains.positions())
    levels = [[system.observe(each)[0] for each in own] for own in weights]
    assert np.array_equal(found.walkers.level, levels)
    assert (weights != starts(system)).mean() > 0.9
    accepted, proposed = found.tally.accepted.sum(axis=(0, 1)), found.tally.proposed.sum((0, 1))
    assert (accepted > 0).all() and (accepted < proposed).all()


def test_whole_is_the_same_as_parts_also_in_another_process(system):
    """Rounding too: a walker that goes on elsewhere has its values computed anew."""
    whole, parts = CpuChains(system, 4, SETS, 5), CpuChains(system, 4, SETS, 5)
    given = windows(system)
    expected = whole.advance(whole.place(starts(system)), given, 4, 700)
    part = parts.advance(parts.place(starts(system)), given, 1, 700)
    other = CpuChains(system, 4, SETS, 5)
    other.resume(part.walkers, parts.positions())
    rest = other.advance(part.walkers, given, 3, 700)
    assert np.array_equal(whole.positions(), other.positions())
    assert np.array_equal(expected.tally.visits, part.tally.visits + rest.tally.visits)


def test_members_do_not_depend_on_their_company(system):
    chains = CpuChains(system, 4, 1, 5)
    population = chains.populate(64, 6)
    weights = system.space.decode(population.codes)
    assert [system.observe(each)[0] for each in weights] == population.level.tolist()
    kinds = system.space.kinds(system.segments, 4)
    window = Windows.fixed(
        0.3 * system.grid.coordinate[None],
        np.zeros(1, np.int64),
        Mixture.of(kinds, np.ones((1, len(kinds)))),
    )
    everybody = np.arange(6)
    together = chains.relax(population, everybody, window, 2, 50, 2)
    apart = CpuChains(system, 4, 1, 5).relax(population, everybody, window, 2, 50, 6)
    assert np.array_equal(together.population.codes, apart.population.codes)
    assert np.array_equal(together.visits.sum(axis=0), apart.visits.sum(axis=0))
    codes = together.population.codes
    found = [system.observe(each)[0] for each in system.space.decode(codes)]
    assert found == together.population.level.tolist()


def test_a_field_pulls_members_as_far_as_it_should(system):
    """With every level alike: w . f has the mean and the spread of independent draws in the field,
    wherever members start."""
    chains, space = CpuChains(system, 4, 1, 5), system.space
    field = space.toward(space.draw(np.random.default_rng(6)))[None]
    draws = space.draw_pulled(field, 0.7, 4000, np.random.default_rng(7))[0]
    expected = space.overlap(draws, field[0])
    window = windows(system)
    window = window._replace(log_weight=np.zeros((1, system.grid.size)), low=np.zeros(1, np.int64))
    window = window._replace(mixture=window.mixture._replace(until=window.mixture.until[:1]))
    count = 200
    relaxed = chains.relax(
        chains.populate(0, count), np.arange(count), window, 1, 5000, 1, pull=Pull(field, 0.7)
    )
    found = relaxed.overlap
    assert np.allclose(found, space.overlap(space.decode(relaxed.population.codes), field[0]))
    error = expected.std() / np.sqrt(count)
    assert expected.mean() > 20 * error
    assert abs(found.mean() - expected.mean()) < 4 * error
    assert found.std() == pytest.approx(expected.std(), rel=0.25)


def test_draws_are_those_of_the_prior_and_fall_on_the_levels_they_say():
    system = SYSTEMS["over A"]
    chains = CpuChains(system, 4, SETS, 5)
    draws = chains.draw(SETS, 2000)
    rng = np.random.default_rng(3)
    levels = [system.observe(system.space.draw(rng))[0] for _ in range(4000)]
    expected = np.bincount(levels, minlength=system.grid.size) / 4000
    found = draws.visits.sum(axis=0) / 4000
    error = np.sqrt((expected * (1 - expected) + 1 / 4000) * 2 / 4000)
    assert (np.abs(found - expected) < 4.5 * error).all()
    assert system.observe(draws.last[0])[0] in np.flatnonzero(draws.visits[0])
