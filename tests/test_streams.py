"""No two stages of a run draw the same random number twice: (stream, step) is used once."""

from collections import Counter

import pytest
from enumeration import random_problem

from volumetry.chains.cpu import CpuChains
from volumetry.kernels.streams import DRAWS, EXCHANGE, KINDS, MEMBERS, MOVES, stream
from volumetry.methods import annealing, joint, population_annealing, rewl

SHORT = {"rung_sweeps": 0.2, "window_cost": 6, "min_blocks": 4, "max_blocks": 4}


@pytest.fixture
def used(monkeypatch):
    """How often each (stream, step) was drawn from; told by what the chains were asked to do."""
    used = Counter()
    advance, draw = CpuChains.advance, CpuChains.draw
    relax, populate = CpuChains.relax, CpuChains.populate

    def count_advance(self, walkers, windows, rounds, moves, *tests):
        found = advance(self, walkers, windows, rounds, moves, *tests)
        count = len(windows.low)
        for r in range(self.sets):
            for w in range(count):
                place = w + count * r
                first, last = walkers.step[r, 1 + w], found.walkers.step[r, 1 + w]
                used.update((int(stream(MOVES, place)), int(s)) for s in range(first, last))
                for number in range(walkers.step[r, 0], found.walkers.step[r, 0]):
                    if w % 2 == number % 2 and w < count - 1:
                        used[int(stream(EXCHANGE, place)), number] += 1
        return found

    def count_draw(self, groups, each):
        used.update((int(stream(DRAWS, 0)), number) for number in range(groups * each))
        return draw(self, groups, each)

    def count_relax(self, population, parents, window, rounds, moves, *rest, **more):
        first = MEMBERS + population.first
        steps = range(population.step, population.step + rounds * moves)
        for member in range(len(parents)):
            used.update((int(stream(MOVES, first + member)), step) for step in steps)
        return relax(self, population, parents, window, rounds, moves, *rest, **more)

    def count_populate(self, first, members):
        used.update((int(stream(DRAWS, 1)), n) for n in range(first, first + members))
        return populate(self, first, members)

    monkeypatch.setattr(CpuChains, "advance", count_advance)
    monkeypatch.setattr(CpuChains, "relax", count_relax)
    monkeypatch.setattr(CpuChains, "populate", count_populate)
    monkeypatch.setattr(CpuChains, "draw", count_draw)
    return used


def test_rewl_draws_each_number_once(used):
    result = rewl.run(random_problem(7), rewl.Parameters(**SHORT, bulk_draws=64), 3)
    assert result.sizes["window"] > 2
    assert len(used) > 10_000 and max(used.values()) == 1


@pytest.mark.parametrize("sound", [True, False])
def test_anneals_draw_each_number_once(used, sound, monkeypatch):
    """Guided and tilted ones included; and anneals that share their numbers are caught."""
    if not sound:
        anneal = annealing.anneal
        monkeypatch.setattr(joint, "anneal", lambda *given, **more: anneal(*given[:-1], 0, **more))
    problem = random_problem(9)
    few = {"members": 10, "populations": 3, "max_anneals": 2, "guides": 4}
    joint.run(problem, joint.Parameters(**few, tail_error=1e-6), 4)
    if sound:
        assert max(used.values()) == 1
        used.clear()
        parameters = population_annealing.Parameters(**few, ln_v_error=1e-6)
        population_annealing.run(problem, parameters, 4)
    assert len(used) > 10_000 and (max(used.values()) == 1) == sound


def test_streams_of_unlike_kinds_and_places_are_unlike():
    kinds = (EXCHANGE, MOVES, DRAWS, KINDS)
    places = *range(99), *range(MEMBERS, MEMBERS + 99)
    numbers = [int(stream(kind, place)) for kind in kinds for place in places]
    assert max(numbers) < 2**32  # a stream is 32 bits of the generator's counter
    assert len(set(numbers)) == len(numbers)
