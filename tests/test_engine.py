"""Incremental evaluation equals full evaluation, by equality of integers.

Two checks meet here. After every move, all values of the walker equal those of a fresh
``initialise``; and every so often those equal the plain forward pass of ``networks.forward``.
"""

import numpy as np
import pytest

from volumetry.engines.evaluator import commit, evaluate, find_channels, initialise, revert
from volumetry.engines.layout import (
    TILE,
    make_move,
    make_plan,
    make_scratch,
    make_states,
    map_dtype,
    state_of,
    sum_dtype,
)
from volumetry.kernels.jit import jit
from volumetry.kernels.philox import below
from volumetry.kernels.simd import LANES
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct, logits
from volumetry.weights.binary import BinaryWeights
from volumetry.weights.flips import draw_flips, flip

CUSTOM = ["pool", "conv 3", "conv 4", "pool", "linear 7", "linear 5"]
NETWORKS = {  # layers, input shape, classes, largest |input|
    "simple_cnn": ("simple_cnn", (1, 8, 8), 10, 15),
    "simple_cnn_deep": ("simple_cnn_deep", (1, 8, 8), 10, 15),
    "simple_cnn_wide": ("simple_cnn_wide", (1, 8, 8), 10, 15),
    "perceptron": ("perceptron", (1, 8, 8), 10, 255),
    "custom": (CUSTOM, (2, 9, 11), 4, 15),
    "no stem": (["linear 9", "linear 8"], (13,), 3, 15),
    "one of each": (["conv 1", "linear 1"], (1, 3, 3), 2, 15),
}
CNN = ("simple_cnn", "simple_cnn_deep", "simple_cnn_wide")
LARGE = CNN[1:]  # of the kind of the first, which is always tried
FULL_SIZE = {name: (name, (1, 28, 28), 10, 15) for name in (*CNN, "perceptron")}


@jit
def differences(plan, state, fresh):
    """Current values that differ between two walkers on the same examples."""
    count = 0
    for channel in range(state.map_side.size):
        stage = 0
        while stage + 1 < plan.stages.shape[0] and channel >= plan.stages[stage + 1].first_channel:
            stage += 1
        pixels = plan.stages[stage].h_out * plan.stages[stage].w_out
        first = plan.stages[stage].first_row + (channel - plan.stages[stage].first_channel) * pixels
        for pixel in range(first, first + pixels):
            a = state.maps[:, 2 * pixel + state.map_side[channel]]
            b = fresh.maps[:, 2 * pixel + fresh.map_side[channel]]
            count += (a != b).sum()
    for unit in range(state.sum_side.size):
        a = state.sums[:, 2 * unit + state.sum_side[unit]]
        b = fresh.sums[:, 2 * unit + fresh.sum_side[unit]]
        count += (a != b).sum()
    return count


@jit
def move_once(plan, state, move, scratch, weights, accept, least):
    find_channels(plan, move)
    flip(weights, move.flips)
    count = evaluate(plan, state, move, weights, scratch, least)
    if accept:
        commit(plan, state, move, scratch)
    else:
        revert(plan, state, move, scratch)
        flip(weights, move.flips)
    return count


@jit
def walk(
    plan, state, move, scratch, fresh, all_move, spare, weights, seed, first, stem, slack, log
):
    """Random moves, half of them accepted, each checked against a fresh evaluation.

    Every fourth move draws from the first ``stem`` weights only. ``slack`` > 0 asks for counts of
    at least (current - 1 + something below slack).

    Returns:
        Wrong counts; values that differ; refusals (-1) seen. ``log`` holds the flips of each move.
    """
    wrong = different = refused = 0
    correct = initialise(plan, fresh, all_move, weights, spare)
    for t in range(len(log)):
        step = first + t
        among = stem if step % 4 == 0 else weights.size
        word = draw_flips(seed, 1, step, among, move.flips)
        log[t] = move.flips
        find_channels(plan, move)
        flip(weights, move.flips)
        least = correct - 1 + below(word, slack) if slack > 0 else 0
        proposed = evaluate(plan, state, move, weights, scratch, least)
        count = initialise(plan, fresh, all_move, weights, spare)
        if proposed == -1:
            refused += 1
            wrong += count >= least
        else:
            wrong += proposed != count or count < least
        if proposed >= 0 and word & np.uint64(1):
            commit(plan, state, move, scratch)
            correct = count
        else:
            revert(plan, state, move, scratch)
            flip(weights, move.flips)
            initialise(plan, fresh, all_move, weights, spare)
        different += differences(plan, state, fresh)
    return wrong, different, refused


class Walker:
    """A network with random weights on random examples, and a second copy of all values."""

    def __init__(self, layers, shape, n_classes, bound, n, flips=3, largest=False, seed=0):
        rng = np.random.default_rng(seed)
        self.network = build_network(layers, shape, n_classes, bound)
        self.x = rng.integers(-bound, bound + 1, (n, *shape))
        self.y = np.sort(rng.integers(0, n_classes, n))  # the order in which a plan keeps them
        self.weights = BinaryWeights(self.network.n_weights).draw(rng)
        if largest:  # near the bounds
            self.weights[:] = 1
            self.x = bound - np.abs(self.x) // 4
            self.x[0] = bound
        self.plan = make_plan(self.network, self.x, self.y)
        states = make_states(self.network, n, 2)
        self.state, self.fresh = state_of.py_func(states, 0), state_of.py_func(states, 1)
        self.move, self.all_move = make_move(self.network, flips), make_move(self.network, 0)
        self.scratch = make_scratch(self.network, flips)
        self.spare = make_scratch(self.network, 0)
        self.steps = 0
        self.initialise(self.state)

    def initialise(self, state):
        return initialise(self.plan, state, self.all_move, self.weights, self.spare)

    def walk(self, moves, slack=0):
        log = np.zeros((moves, self.move.flips.size), np.int64)
        stem = sum(s.n_weights for s in self.network.stages)
        # A few weights beyond the stem, so that both kinds also meet in one move.
        stem = min(self.network.n_weights, stem + stem // 4 or self.network.n_weights)
        result = walk(
            self.plan,
            self.state,
            self.move,
            self.scratch,
            self.fresh,
            self.all_move,
            self.spare,
            self.weights,
            np.uint64(5),
            self.steps,
            stem,
            slack,
            log,
        )
        self.steps += moves
        return *result, log

    def move_by(self, flips, accept, least=0):
        """Flip the listed weights; the count found."""
        self.move.flips[:] = flips
        return move_once(
            self.plan, self.state, self.move, self.scratch, self.weights, accept, least
        )

    def differences(self):
        self.initialise(self.fresh)
        return differences(self.plan, self.state, self.fresh)

    def logits(self):
        """Current logits, with the tie offsets taken off; those of padding examples apart."""
        units = np.arange(self.state.sum_side.size)[-self.network.n_classes :]
        lower = np.arange(self.network.n_classes)[:, None] < self.plan.label[:, None]
        sums = self.state.sums[:, 2 * units + self.state.sum_side[units]] - lower
        tiles = list(zip(sums, self.plan.n))
        real = np.concatenate([tile[:, :n].T for tile, n in tiles])
        return real, np.concatenate([tile[:, n:].T for tile, n in tiles])

    def check_against_forward(self):
        real, padding = self.logits()
        assert np.array_equal(real, logits(self.network, self.weights, self.x))
        assert not padding.any()
        correct = count_correct(self.network, self.weights, self.x, self.y)
        assert self.initialise(self.fresh) == correct


def kinds(network, log):
    """Moves in which a weight of each layer was flipped."""
    ends = np.cumsum([layer.n_weights for layer in (*network.stages, *network.linears)])
    layer = np.searchsorted(ends, log, side="right")
    return [int((layer == k).any(axis=1).sum()) for k in range(len(ends))]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in NETWORKS],
)
def test_ten_thousand_moves_equal_full_evaluations(name):
    walker = Walker(*NETWORKS[name], n=37)
    logs = []
    for _ in range(20):
        wrong, different, _, log = walker.walk(500)
        assert (wrong, different) == (0, 0)
        walker.check_against_forward()
        logs.append(log)
    seen = kinds(walker.network, np.concatenate(logs))
    assert len(seen) == len(walker.network.stages) + len(walker.network.linears)
    assert min(seen) >= 100


@pytest.mark.parametrize("name", FULL_SIZE)
def test_moves_at_full_size_equal_full_evaluations(name):
    walker = Walker(*FULL_SIZE[name], n=20, flips=5)
    wrong, different, _, log = walker.walk(300)
    assert (wrong, different) == (0, 0)
    walker.check_against_forward()
    assert min(kinds(walker.network, log)) >= 10


def test_one_and_five_flips_a_move():
    for flips in (1, 5):
        walker = Walker(*NETWORKS["custom"], n=37, flips=flips)
        assert walker.walk(1000)[:2] == (0, 0)
        walker.check_against_forward()


def test_types_follow_the_bounds():
    def types(layers, shape, bound):
        network = build_network(layers, shape, 2, bound)
        return map_dtype(network), sum_dtype(network)

    assert types(["conv 1"], (1, 8, 8), 1213) == (np.int16, np.int32)  # 3 * 9 * 1213 = 32751
    assert types(["conv 1"], (1, 8, 8), 1214) == (np.int32, np.int32)
    third = (2**31 - 1) // 3
    assert types([], (1,), third - 1) == (np.int32, np.int32)  # one more for the tie offset
    assert types([], (1,), third) == (np.int32, np.int64)
    assert types([], (1,), third + 1) == (np.int64, np.int64)


def test_no_value_near_the_bounds_of_the_narrowest_types_overflows():
    walker = Walker(["conv 6", "pool", "linear 683"], (1, 8, 8), 3, 1213, n=33, largest=True)
    assert (map_dtype(walker.network), sum_dtype(walker.network)) == (np.int16, np.int32)
    assert walker.state.maps.max() == walker.network.stages[0].bound == 10917
    assert walker.logits()[0].min() > 2**28
    assert walker.walk(300)[:2] == (0, 0)
    walker.check_against_forward()


@pytest.mark.slow  # to compile
def test_wide_types_hold_sums_beyond_32_bits():
    walker = Walker("simple_cnn_deep", (1, 8, 8), 4, 1_000_000, n=33, largest=True)
    assert (map_dtype(walker.network), sum_dtype(walker.network)) == (np.int32, np.int64)
    for _ in range(4):
        wrong, different, _, log = walker.walk(250)
        assert (wrong, different) == (0, 0)
        assert min(kinds(walker.network, log)) >= 10
        assert np.abs(walker.logits()[0]).max() > 2**32
        walker.check_against_forward()


@pytest.mark.parametrize("name", ["perceptron", "custom"])
def test_counts_equal_forward_for_any_number_of_examples(name):
    for n in (1, 31, 32, 33, TILE - 1, TILE, TILE + 1, 2 * TILE + 5):
        walker = Walker(*NETWORKS[name], n=n, seed=n)
        tiles, _, width = walker.plan.x.shape
        assert tiles == -(-n // TILE)
        assert width % LANES == 0
        assert width % (8 * LANES) != 0
        assert n <= tiles * width < n + 2 * tiles * LANES
        walker.check_against_forward()


@pytest.mark.parametrize("name", ["perceptron", "custom"])
def test_moves_on_several_tiles(name):
    walker = Walker(*NETWORKS[name], n=2 * TILE + 77)
    assert walker.walk(60)[:2] == (0, 0)
    walker.check_against_forward()


def test_ties_go_to_the_lowest_class_after_moves_too():
    walker = Walker(["linear 2"], (3,), 4, 1, n=300)
    ties = 0
    for _ in range(20):
        assert walker.walk(25)[:2] == (0, 0)
        walker.check_against_forward()
        two, one = np.sort(walker.logits()[0], axis=1)[:, -2:].T
        ties += (two == one).sum()
    assert ties > 1000


@pytest.mark.parametrize(("name", "n"), [("perceptron", 37), ("custom", 37), ("no stem", 2500)])
def test_a_move_is_refused_early_only_if_its_count_is_below_least(name, n):
    walker = Walker(*NETWORKS[name], n=n)
    moves = 2000 if n < 100 else 200
    wrong, different, refused, _ = walker.walk(moves, slack=4)
    assert (wrong, different) == (0, 0)
    assert moves / 10 < refused < moves
    walker.check_against_forward()


def test_a_refusal_before_the_last_tile_leaves_a_sound_walker():
    walker = Walker(*NETWORKS["custom"], n=3 * TILE)
    before = walker.logits()[0]
    for flips in ([0, 1, 2], [0, 60, 200], [200, 201, 210]):
        assert walker.move_by(flips, accept=False, least=3 * TILE) == -1
        assert np.array_equal(walker.logits()[0], before)
        assert walker.differences() == 0
    assert walker.move_by([0, 60, 200], accept=True) >= 0
    assert walker.differences() == 0
    walker.check_against_forward()


@pytest.mark.parametrize("name", ["simple_cnn_deep", "custom", "no stem"])
def test_a_rejected_move_changes_nothing_and_a_repeated_one_returns(name):
    walker = Walker(*NETWORKS[name], n=37)
    last = walker.network.n_weights - 1
    rng = np.random.default_rng(4)
    for low in (0, 0, last // 2, 0):
        flips = np.sort(rng.choice(np.arange(low, last), 3, replace=False))
        weights, before = walker.weights.copy(), walker.logits()[0]
        count = walker.move_by(flips, accept=False)
        assert np.array_equal(walker.weights, weights)
        assert np.array_equal(walker.logits()[0], before)
        assert walker.differences() == 0

        assert walker.move_by(flips, accept=True) == count
        assert (walker.weights != weights).sum() == 3
        assert walker.differences() == 0
        walker.move_by(flips, accept=True)
        assert np.array_equal(walker.weights, weights)
        assert np.array_equal(walker.logits()[0], before)
        assert walker.differences() == 0
    walker.move_by([0, 1, last], accept=True)
    assert not np.array_equal(walker.logits()[0], before)


def test_walkers_of_one_memory_do_not_touch_each_other():
    walker = Walker(*NETWORKS["custom"], n=37)
    walker.initialise(walker.fresh)
    copies = [array.copy() for array in walker.fresh]
    walker.move_by([0, 60, 200], accept=True)
    assert all(np.array_equal(a, b) for a, b in zip(walker.fresh, copies))
    assert differences(walker.plan, walker.state, walker.fresh) > 0
