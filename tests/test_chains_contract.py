"""The contract of the chains, on every backend: the same tests for all of them.

Without a GPU its kernels run in Triton's interpreter, so the problem is tiny.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from enumeration import every_setting, random_problem

from volumetry.chains.cpu import CpuChains
from volumetry.chains.recorded import RecordedChains
from volumetry.chains.records import Mixture, Population, Pull, Schedule, Windows
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.systems.classification import Classification
from volumetry.weights.moves import Kind, Segment

SETS, WINDOWS, SEED = 2, 3, 2**63 + 5
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

if DEVICE == "cpu":
    with pytest.MonkeyPatch.context() as context:
        context.setenv("TRITON_INTERPRET", "1")
        from triton.runtime import interpreter

        from volumetry.chains.gpu import GpuChains
else:
    from volumetry.chains.gpu import GpuChains

BACKENDS = {
    "cpu": CpuChains,
    "gpu": lambda *given: GpuChains(*given, device=DEVICE, block=32),
}
PROBLEM = random_problem(1)
SYSTEMS = {
    "over A": Classification.over_correct(PROBLEM),
    "over A and Q": Classification.over_accuracy(PROBLEM, 4),
}


def pytest_generate_tests(metafunc):
    """Every backend with every system; what takes long in the interpreter is slow."""
    if not {"backend", "system"} <= set(metafunc.fixturenames):
        return
    costly = metafunc.definition.get_closest_marker("costly") is not None
    pairs = [
        pytest.param(
            backend,
            system,
            id=f"{backend}-{system}",
            marks=[pytest.mark.slow] * (backend == "gpu" and (costly or system == "over A and Q")),
        )
        for backend, system in product(BACKENDS, SYSTEMS)
    ]
    metafunc.parametrize(("backend", "system"), pairs, indirect=True)


@pytest.fixture
def backend(request, monkeypatch):
    if request.param == "gpu" and DEVICE == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        builder = interpreter.interpreter_builder
        # Its checks of overflow take as long as everything else.
        monkeypatch.setattr(builder, "options", replace(builder.options, sanitize_overflow=False))
    return BACKENDS[request.param]


@pytest.fixture
def system(request):
    return SYSTEMS[request.param]


def starts(system):
    rng = np.random.default_rng(2)
    return np.array([[system.space.draw(rng) for _ in range(WINDOWS)] for _ in range(SETS)])


def everywhere(system, ln_f=0.0):
    """Windows over all levels, of unlike weights."""
    log_weight = 0.3 * np.arange(WINDOWS)[:, None] * np.arange(system.grid.size)
    low, interval = np.zeros(WINDOWS, np.int64), np.ones(WINDOWS, np.int64)
    return Windows(log_weight, low, np.full(WINDOWS, ln_f), interval)


def schedule(system):
    """Tests at every level, for a system that does not test at every move."""
    return Schedule(low=0) if system.levels.bins == 1 else Schedule()


MOVES = np.array([2, 1, 1])


def weights_of(chains):
    """(SETS, WINDOWS, n_weights), by replica."""
    return chains.system.space.decode(chains.positions())


def levels(system, weights):
    """Of each row of weights, by the yardstick."""
    flat = weights.reshape(-1, weights.shape[-1])
    return np.array([system.observe(w)[0] for w in flat]).reshape(weights.shape[:-1])


def test_walkers_stand_where_the_yardstick_puts_them(backend, system):
    chains = backend(system, 3, SETS, SEED)
    weights = starts(system)
    walkers = chains.place(weights, step=7)
    assert np.array_equal(walkers.level, levels(system, weights))
    assert walkers.next_step == 7
    assert np.array_equal(chains.system.space.decode(chains.positions()), weights)
    found = chains.advance(walkers, everywhere(system), 3, MOVES, schedule(system))
    after = system.space.decode(chains.positions())
    assert (after != weights).any()
    assert np.array_equal(found.walkers.level, levels(system, after))
    assert np.array_equal(found.top, after[range(SETS), found.walkers.replica[:, -1]])
    assert np.array_equal(walkers.step, np.full((SETS, 1 + WINDOWS), 7))  # records stay as given


def test_everything_made_is_counted(backend, system):
    chains = backend(system, 3, SETS, SEED)
    walkers = chains.place(starts(system))
    found = chains.advance(walkers, everywhere(system), 3, MOVES, schedule(system))
    tally, rounds = found.tally, 3
    assert np.array_equal(tally.visits.sum(axis=2), np.tile(rounds * MOVES, (SETS, 1)))
    assert np.array_equal(found.walkers.step, np.tile([rounds, *(rounds * MOVES)], (SETS, 1)))
    assert np.array_equal(tally.trace[:, :, -1], found.walkers.levels)
    assert tally.attempts.sum() == SETS * rounds and not tally.attempts[:, -1].any()
    assert np.array_equal(tally.proposed.sum(axis=2), np.tile(rounds * MOVES, (SETS, 1)))
    assert (tally.changes.sum(axis=2) <= tally.accepted.sum(axis=2)).all()
    if system.levels.bins == 1:
        assert tally.tests.sum() == SETS * WINDOWS * rounds
        at_top = tally.tests[:, system.grid.goal].sum(axis=1)
        assert np.array_equal(tally.test_counts.sum(axis=1), at_top)


def test_a_window_is_never_left(backend, system):
    chains = backend(system, 3, SETS, SEED)
    walkers = chains.place(starts(system))
    at = system.grid.coordinate[walkers.level]
    low, high = at.min(axis=0), at.max(axis=0)
    inside = system.grid.inside(list(zip(low.tolist(), high.tolist())))
    log_weight = np.where(inside, 0.0, -np.inf)
    found = chains.advance(walkers, Windows.fixed(log_weight, low), 4, MOVES)
    assert not found.tally.visits[:, ~inside].any()


def test_a_move_flips_what_its_kind_says(backend, system):
    """Each window with the others' kinds too, but never taken."""
    size = system.space.size
    segments = Segment("first", 0, 3), Segment("last", size - 4, 4), Segment("all", 0, size)
    kinds = [Kind(segment, flips) for segment, flips in zip(segments, (1, 3, 3))]
    assert [kind.name for kind in kinds] == ["1 of first", "3 of last", "3 of all"]
    windows = everywhere(system)
    flat = np.zeros_like(windows.log_weight)
    windows = Windows.fixed(flat, windows.low, Mixture.of(kinds, np.eye(WINDOWS)))
    chains, before = backend(system, 3, SETS, SEED), starts(system)
    found = chains.advance(chains.place(before), windows, 1, np.ones(WINDOWS))
    flipped = chains.system.space.decode(chains.positions()) != before
    for w, (segment, flips, _) in enumerate(kinds):
        assert (flipped[:, w].sum(axis=1) == flips).all()
        inside = flipped[:, w, segment.first : segment.first + segment.size]
        assert (inside.sum(axis=1) == flips).all()
    assert np.array_equal(found.tally.proposed, np.tile(np.eye(WINDOWS), (SETS, 1, 1)))
    assert np.array_equal(found.tally.accepted, found.tally.proposed)


def test_a_mixture_keeps_count_of_its_kinds(backend, system):
    size = system.space.size
    kinds = [Kind(Segment("all", 0, size), 3), Kind(Segment("last", size - 4, 4), 1)]
    windows = everywhere(system)._replace(mixture=Mixture.of(kinds, np.ones((WINDOWS, 2))))
    chains = backend(system, 3, SETS, SEED)
    found = chains.advance(chains.place(starts(system)), windows, 6, MOVES)
    assert np.array_equal(found.walkers.level, levels(system, weights_of(chains)))
    made = np.tile(6 * MOVES, (SETS, 1))
    assert np.array_equal(found.tally.proposed.sum(axis=2), made)
    assert (found.tally.proposed.sum(axis=(0, 1)) > made.sum() / 4).all()
    assert (found.tally.accepted <= found.tally.proposed).all()


def test_weights_are_learned_set_by_set_and_given_ones_stay(backend, system):
    chains = backend(system, 3, SETS, SEED)
    windows = everywhere(system, ln_f=0.25)
    before = windows.log_weight.copy()
    found = chains.advance(chains.place(starts(system)), windows, 2, MOVES)
    assert np.array_equal(windows.log_weight, before)
    assert np.allclose(found.log_weight, before - 0.25 * found.tally.visits, atol=1e-12)
    fixed = chains.advance(found.walkers, everywhere(system), 1, MOVES)
    assert np.array_equal(fixed.log_weight, np.tile(before, (SETS, 1, 1)))


def test_whole_is_the_same_as_parts_also_in_another_process(backend, system):
    whole, windows = backend(system, 3, SETS, SEED), everywhere(system)
    expected = whole.advance(whole.place(starts(system)), windows, 3, MOVES)
    first, second = backend(system, 3, SETS, SEED), backend(system, 3, SETS, SEED)
    part = first.advance(first.place(starts(system)), windows, 1, MOVES)
    second.resume(part.walkers, first.positions())
    rest = second.advance(part.walkers, windows, 2, MOVES)
    for name, one, other in zip(expected.walkers._fields, expected.walkers, rest.walkers):
        assert np.array_equal(one, other), name
    assert np.array_equal(whole.positions(), second.positions())
    assert np.array_equal(expected.tally.visits, part.tally.visits + rest.tally.visits)


def test_draws_are_numbered(backend, system):
    chains = backend(system, 3, SETS, SEED)
    fine, coarse = chains.draw(4, 1), chains.draw(SETS, 2)
    for name in ("visits", "tests", "test_sum"):
        one, other = getattr(fine, name), getattr(coarse, name)
        assert np.array_equal(one.reshape(SETS, 2, -1).sum(axis=1), other), name
    assert np.array_equal(fine.last, coarse.last)
    at = levels(system, fine.last)
    assert np.array_equal(fine.visits[[1, 3]].argmax(axis=1), at)


MEMBERS, GROUPS = 6, 2


def relax(chains, population, parents, rounds=3, beta=0.3, pull=None):
    """At one temperature, with two kinds of moves; tests at every level."""
    size = chains.system.space.size
    kinds = [Kind(Segment("all", 0, size), 3), Kind(Segment("last", size - 4, 4), 1)]
    window = Windows.fixed(
        beta * chains.system.grid.coordinate[None],
        np.zeros(1, np.int64),
        Mixture.of(kinds, np.ones((1, 2))),
    )
    tests = schedule(chains.system)
    return chains.relax(population, parents, window, rounds, 3, GROUPS, tests, pull)


def test_a_population_is_drawn_member_by_member(backend, system):
    chains = backend(system, 3, SETS, SEED)
    whole, late = chains.populate(0, MEMBERS), chains.populate(2, 3)
    weights = system.space.decode(whole.codes)
    assert np.array_equal(whole.level, levels(system, weights))
    assert len(np.unique(weights, axis=0)) > 1
    assert np.array_equal(whole.codes[2:5], late.codes)
    assert np.array_equal(whole.level[2:5], late.level) and late.first == 2


def test_members_are_copied_from_their_parents_and_then_go_their_own_ways(backend, system):
    chains = backend(system, 3, SETS, SEED)
    population = chains.populate(4, MEMBERS)
    codes = population.codes.copy()
    copied = relax(chains, population, np.full(MEMBERS, 2), rounds=0).population
    assert np.array_equal(copied.codes, np.tile(codes[2], (MEMBERS, 1)))
    found = relax(chains, population, np.full(MEMBERS, 2))
    after = system.space.decode(found.population.codes)
    assert len(np.unique(after, axis=0)) > 1
    assert np.array_equal(found.population.level, levels(system, after))
    assert np.array_equal(population.codes, codes)  # records stay as given
    assert (found.population.first, found.population.step) == (4, 9)


def test_everything_made_with_a_population_is_counted_by_group(backend, system):
    chains = backend(system, 3, SETS, SEED)
    found = relax(chains, chains.populate(0, MEMBERS), np.arange(MEMBERS))
    each = MEMBERS // GROUPS
    assert np.array_equal(found.visits.sum(axis=1), np.full(GROUPS, 9 * each))
    assert np.array_equal(found.proposed.sum(axis=1), np.full(GROUPS, 9 * each))
    assert (found.accepted <= found.proposed).all() and found.accepted.any()
    assert np.array_equal(found.trace[:, -1], found.population.level)
    if system.levels.bins == 1:
        assert np.array_equal(found.tests.sum(axis=1), np.full(GROUPS, 3 * each))


def test_members_do_not_depend_on_who_is_relaxed_beside_them(backend, system):
    chains = backend(system, 3, SETS, SEED)
    whole, part = chains.populate(0, MEMBERS), chains.populate(4, 2)
    one, other = relax(chains, whole, np.arange(MEMBERS)), relax(chains, part, np.arange(2))
    assert np.array_equal(one.population.codes[4:], other.population.codes)
    assert np.array_equal(one.trace[4:], other.trace)


def towards(system, strength):
    """A pull of each group towards weights of its own, opposite ones."""
    toward = system.space.draw(np.random.default_rng(6))
    return Pull(np.array([toward, -toward]), strength)


def test_a_pull_of_no_strength_changes_nothing(backend, system):
    chains = backend(system, 3, SETS, SEED)
    population, parents = chains.populate(0, MEMBERS), np.arange(MEMBERS)
    plain, pulled = (
        relax(chains, population, parents, rounds=1, pull=pull)
        for pull in (None, towards(system, 0.0))
    )
    assert not plain.overlap.any()
    for name, one, other in zip(plain._fields[1:], plain[1:], pulled[1:]):
        assert name == "overlap" or np.array_equal(one, other), name
    for name, one, other in zip(population._fields, plain.population, pulled.population):
        assert np.array_equal(one, other), name


def test_each_group_is_pulled_its_own_way_also_when_recalled(backend, system, tmp_path):
    """So strongly that no move away from ``toward`` is ever accepted; on a GPU, in two parts."""
    chains, pull = backend(system, 3, SETS, SEED), towards(system, 100.0)
    if hasattr(chains, "on"):
        chains.on.parts = lambda members: [slice(0, 1), slice(1, members)]
    toward = np.repeat(pull.toward, MEMBERS // GROUPS, axis=0)
    population, found = chains.populate(0, MEMBERS), []
    for _ in range(2):
        with Checkpoint(tmp_path / "job", "key", seconds=0) as checkpoint:
            recorded = RecordedChains(chains, checkpoint)
            found.append(relax(recorded, population, np.arange(MEMBERS), 2, 0.0, pull))
    populations = population, *(each.population for each in found)
    before, after, recalled = (system.space.decode(each.codes) for each in populations)
    assert np.array_equal(after, recalled)
    assert np.array_equal(found[0].population.level, levels(system, after))
    for each in found:
        assert np.array_equal(each.overlap, (after * toward).sum(axis=1))
    nearer = (after * toward).sum(axis=1) - (before * toward).sum(axis=1)
    assert (nearer >= 0).all() and (nearer > 0).mean() > 0.5


@pytest.mark.parametrize(
    "backend", ["cpu", pytest.param("gpu", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_pulled_members_are_distributed_as_they_should(backend, beta):
    """Against all weight settings; half the pull, or one the other way, would be noticed.

    Members start from ``toward``. In the interpreter there are few of them, with just enough moves.
    """
    system, strength = Classification.over_correct(random_problem(0)), 1.2
    members, moves, share = 1600, 101, {1: 3, 3: 1}
    if backend is BACKENDS["gpu"] and DEVICE == "cpu":
        members, moves, share = 16, 19, {1: 1}
    kinds = [Kind(Segment("all", 0, system.space.size), flips) for flips in share]
    mixture = Mixture.of(kinds, np.array([[*share.values()]]))
    chains, pull = backend(system, 3, SETS, SEED), towards(system, strength)
    toward = np.repeat(pull.toward, members // GROUPS, axis=0)
    start = Population(system.space.encode(toward), levels(system, toward), 0, 0)
    window = Windows.fixed(beta * system.grid.coordinate[None], np.zeros(1, np.int64), mixture)
    found = chains.relax(start, np.arange(members), window, 1, moves, GROUPS, pull=pull).population
    weights, every = system.space.decode(found.codes), every_setting(system.space.size)
    a = levels(system, every)
    assert np.array_equal(found.level, levels(system, weights))
    seen = np.array([(weights * toward).sum(axis=1), found.level])

    def z(strength):
        """Of the means of w . toward and of A, were this the strength."""
        off, variance = np.zeros((2, 2))
        for own, values in zip(pull.toward.astype(np.int64), np.split(seen, GROUPS, axis=1)):
            exact = np.array([every @ own, a])
            p = np.exp([strength, beta] @ exact)
            p /= p.sum()
            mean = exact @ p
            off += (values - mean[:, None]).sum(axis=1)
            variance += values.shape[1] * (exact**2 @ p - mean**2)
        return np.abs(off) / np.sqrt(variance)

    assert z(strength).max() < 3
    assert z(strength / 2)[0] > 3 and z(-strength)[0] > 3


@pytest.mark.costly
def test_a_recorded_relaxation_is_recalled(backend, system, tmp_path):
    parents = np.array([1, 1, 0, 3, 5, 4])
    ended = []
    for steps in (1, 2):
        with Checkpoint(tmp_path / "job", "key", seconds=0) as checkpoint:
            chains = RecordedChains(backend(system, 3, SETS, SEED), checkpoint)
            population = chains.populate(0, MEMBERS)
            for _ in range(steps):
                found = relax(chains, population, parents)
                population = found.population
            assert chains.moves == steps * 9 * MEMBERS
            ended.append(found)
    undisturbed = backend(system, 3, SETS, SEED)
    population = undisturbed.populate(0, MEMBERS)
    for _ in range(2):
        found = relax(undisturbed, population, parents)
        population = found.population
    for name, one, other in zip(found._fields[1:], found[1:], ended[1][1:]):
        assert np.array_equal(one, other), name
    for name, one, other in zip(population._fields, population, ended[1].population):
        assert np.array_equal(one, other), name


def test_a_recorded_advance_is_recalled(backend, system, tmp_path):
    windows, found = everywhere(system, ln_f=0.25), []
    for steps in (2, 3):
        with Checkpoint(tmp_path / "job", "key", seconds=0) as checkpoint:
            chains = RecordedChains(backend(system, 3, SETS, SEED), checkpoint)
            chains.draw(SETS, 1)
            walkers = chains.place(starts(system))
            for _ in range(steps):
                walkers, *rest = chains.advance(walkers, windows, 1, MOVES)
            assert chains.moves == steps * SETS * MOVES.sum()
            found.append((walkers, *rest, chains.positions()))
    undisturbed = backend(system, 3, SETS, SEED)
    walkers = undisturbed.place(starts(system))
    for _ in range(3):
        walkers, tally, log_weight, top = undisturbed.advance(walkers, windows, 1, MOVES)
    resumed = found[1]
    assert all(map(np.array_equal, walkers, resumed[0]))
    assert all(map(np.array_equal, tally, resumed[1]))
    assert np.array_equal(log_weight, resumed[2]) and np.array_equal(top, resumed[3])
    assert np.array_equal(undisturbed.positions(), resumed[4])
