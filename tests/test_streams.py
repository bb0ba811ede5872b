"""No two stages of a run draw the same random number twice: (stream, step) is used once."""

from collections import Counter

import numpy as np
import pytest
from enumeration import random_problem

from volumetry.chains.cpu import CpuChains
from volumetry.kernels.streams import DRAWS, EXCHANGE, KINDS, MEMBERS, MOVES, stream
from volumetry.methods import joint, rewl

SHORT = {"rung_sweeps": 0.2, "window_cost": 6, "min_blocks": 4, "max_blocks": 4}


@pytest.fixture
def used(monkeypatch):
    """How often each (stream, step) was drawn from; told by what the chains were asked to do."""
    used = Counter()
    advance, draw = CpuChains.advance, CpuChains.draw

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

    monkeypatch.setattr(CpuChains, "advance", count_advance)
    monkeypatch.setattr(CpuChains, "draw", count_draw)
    return used


def test_rewl_draws_each_number_once(used):
    result = rewl.run(random_problem(7), rewl.Parameters(**SHORT, bulk_draws=64), 3)
    assert result.sizes["window"] > 2
    assert len(used) > 10_000 and max(used.values()) == 1


@pytest.mark.parametrize("sound", [True, False])
def test_joint_draws_each_number_once_also_where_its_first_stage_moves(used, sound, monkeypatch):
    """And a second stage that begins again at step 0 is caught."""
    if not sound:
        explore = joint.explore
        monkeypatch.setattr(joint, "explore", lambda *given: explore(*given[:-1], 0))
    problem = random_problem(9)
    reference = rewl.run(problem, rewl.Parameters(**SHORT), 3)
    used.clear()
    # As if rewl's walkers had been far below the band: they have to be brought there first.
    low = problem.space.draw(np.random.default_rng(1))
    states = np.tile(low, (len(reference.state_correct), 1))
    reference["state_weights"][:] = problem.space.encode(states)
    reference["state_correct"][:] = 0
    joint.run(problem, joint.Parameters(**SHORT, band=0), 4, sources={"rewl": reference})
    assert len(used) > 10_000 and (max(used.values()) == 1) == sound


def test_streams_of_unlike_kinds_and_places_are_unlike():
    kinds = (EXCHANGE, MOVES, DRAWS, KINDS)
    places = *range(99), *range(MEMBERS, MEMBERS + 99)
    numbers = [int(stream(kind, place)) for kind in kinds for place in places]
    assert max(numbers) < 2**32  # a stream is 32 bits of the generator's counter
    assert len(set(numbers)) == len(numbers)
