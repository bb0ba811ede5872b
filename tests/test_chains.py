"""The Markov chain on networks of ten weights, all of whose 1024 states can be listed.

Chains have fixed seeds. A frequency is compared with its exact value in units of the standard
error that the chain's own autocorrelation gives; |z| up to 4.5 is allowed, which chance exceeds
once in 10,000 comparisons even if that error is 15 % off.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from volumetry.chains.cpu import CpuChains
from volumetry.chains.records import Mixture, Schedule, Tally, Windows
from volumetry.estimate.reweighting import statistical_inefficiency
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct, predict
from volumetry.systems.classification import Classification, Problem
from volumetry.weights.binary import BinaryWeights
from volumetry.weights.moves import Kind, Segment

NETWORKS = {"perceptron": ((), (5,)), "one hidden layer": (("linear 2",), (3,))}
N, N_TEST, M = 8, 20, 10
LARGEST_Z = 4.5


class Tiny:
    """A network of ten weights, eight examples, and A of every state."""

    def __init__(self, name):
        layers, shape = NETWORKS[name]
        rng = np.random.default_rng(18)
        self.network = build_network(layers, shape, 2, 5)
        assert self.network.n_weights == M
        x = rng.integers(-5, 6, (N + N_TEST, *shape))
        y = predict(
            self.network, BinaryWeights(self.network.n_weights).draw(rng), x
        )  # so A = n is possible
        self.train, self.test = (x[:N], y[:N]), (x[N:], y[N:])
        self.problem = Problem(self.network, *self.train, *self.test, *self.test)
        self.system = Classification.over_correct(self.problem)
        bits = np.arange(2**M)[:, None] >> np.arange(M) & 1
        self.states = (2 * bits - 1).astype(np.int8)
        self.a = np.array([self.count(w) for w in self.states])
        self.g = np.bincount(self.a, minlength=N + 1) / 2**M

    def count(self, weights):
        return count_correct(self.network, weights, *self.train)

    def count_test(self, weights):
        return count_correct(self.network, weights, *self.test)

    def is_connected(self, low, high, flips):
        """Whether moves of ``flips`` weights join all states of a window."""
        inside = np.flatnonzero((self.a >= low) & (self.a <= high))
        apart = np.bitwise_count(inside[:, None] ^ inside)
        return connected_components(apart == flips)[0] == 1

    def exact(self, log_weight):
        p = self.g * np.exp(log_weight)
        return p / p.sum(axis=-1, keepdims=True)


class Chain:
    """One walker set on a tiny network, with the same weight function for its whole life."""

    def __init__(
        self,
        tiny,
        log_weight,
        flips=3,
        sets=1,
        seed=1,
        pool=None,
        ln_f=0.0,
        interval=1,
        mixture=None,
    ):
        self.tiny = tiny
        log_weight = np.atleast_2d(log_weight).astype(float)
        count, inside = len(log_weight), np.isfinite(log_weight)
        self.windows = Windows(
            log_weight,
            inside.argmax(axis=1),
            np.full(count, ln_f),
            np.full(count, interval),
            mixture,
        )
        self.chains = CpuChains(tiny.system, flips, sets, seed, pool)
        first = np.array([tiny.states[own[tiny.a].argmax()] for own in inside])
        self.walkers = self.chains.place(np.tile(first, (sets, 1, 1)))

    @property
    def weights(self):
        """(W, M) of the first set, by replica."""
        return self.chains.system.space.decode(self.chains.positions())[0]

    def advance(self, rounds, moves=1, **tests):
        found = self.chains.advance(
            self.walkers,
            self.windows,
            rounds,
            np.full(len(self.windows.low), moves),
            Schedule(**tests),
        )
        self.walkers = found.walkers
        assert [self.tiny.count(w) for w in self.weights] == list(self.walkers.level[0])
        assert (found.tally.visits.sum(axis=2) == rounds * moves).all()
        assert np.array_equal(found.top[0], self.weights[self.walkers.replica[0, -1]])
        return found

    def run(self, rounds, moves=1, **tests):
        """What the first set counted."""
        return Tally(*(counted[0] for counted in self.advance(rounds, moves, **tests).tally))


@pytest.fixture(scope="module", params=NETWORKS)
def tiny(request):
    return Tiny(request.param)


def largest_z(trace, exact):
    """Largest |z| of the frequencies of A in a trace; values of A that cannot be must not occur."""
    assert not np.isin(trace, np.flatnonzero(exact == 0)).any()
    z = []
    for a in np.flatnonzero((exact > 0) & (exact < 1)):
        at_a = (trace == a).astype(float)
        slow = statistical_inefficiency(at_a[None])
        z.append((at_a.mean() - exact[a]) / np.sqrt(exact[a] * (1 - exact[a]) * slow / len(trace)))
    assert len(z) >= 2
    return np.abs(z).max()


def window(low, high, log_weight=0.0):
    a = np.arange(N + 1)
    return np.where((a >= low) & (a <= high), log_weight, -np.inf)


def flat(tiny):
    """ln weight = -ln g; A that no state has are left out."""
    with np.errstate(divide="ignore"):
        log_g = np.log(tiny.g)
    return np.where(tiny.g > 0, -log_g, -np.inf)


@pytest.mark.parametrize("flips", [1, 3, 5])
def test_uniform_weights_visit_each_a_with_its_exact_frequency(tiny, flips):
    chain = Chain(tiny, np.zeros(N + 1), flips)
    tally = chain.run(40_000)
    assert tally.accepted[0] == 40_000
    assert np.array_equal(tally.visits[0], np.bincount(tally.trace[0], minlength=N + 1))
    assert largest_z(tally.trace[0], tiny.g) < LARGEST_Z


@pytest.mark.parametrize("flips", [1, 3])
def test_inverse_density_as_weight_makes_visits_flat(tiny, flips):
    tally = Chain(tiny, flat(tiny), flips).run(60_000)
    possible = tiny.g > 0
    assert largest_z(tally.trace[0], possible / possible.sum()) < LARGEST_Z
    assert 0 < tally.accepted[0] < 60_000


def mixed(windows, flips=3):
    """All weights, and single ones of the first six and of the rest, each with a share of its own
    in every window."""
    segments = Segment("all", 0, M), Segment("first", 0, 6), Segment("rest", 6, M - 6)
    kinds = [Kind(segment, number) for segment, number in zip(segments, (flips, 1, 1))]
    return Mixture.of(kinds, np.random.default_rng(1).uniform(1, 3, (windows, 3)))


@pytest.mark.parametrize("flips", [3, 5])
def test_a_mixture_of_moves_has_the_same_distribution(tiny, flips):
    mixture = mixed(1, flips)
    chain = Chain(tiny, flat(tiny), flips, mixture=mixture)
    tally = chain.run(60_000)
    possible = tiny.g > 0
    assert largest_z(tally.trace[0], possible / possible.sum()) < LARGEST_Z
    share = mixture.share[0]
    assert share.sum() == 1
    z = (tally.proposed[0] / 60_000 - share) / np.sqrt(share * (1 - share) / 60_000)
    assert np.abs(z).max() < LARGEST_Z
    assert (tally.accepted[0] > 0).all() and (tally.accepted[0] < tally.proposed[0]).all()


def test_a_mixture_of_a_single_kind_is_the_plain_chain(tiny):
    """And draws no more random numbers."""
    plain = Chain(tiny, flat(tiny)).run(500)
    kinds = [Kind(Segment("all", 0, M), 3)]
    single = Chain(tiny, flat(tiny), mixture=Mixture.of(kinds, np.ones((1, 1)))).run(500)
    assert all(np.array_equal(a, b) for a, b in zip(plain, single))


def test_a_canonical_weight_gives_the_canonical_distribution(tiny):
    log_weight = 0.8 * np.arange(N + 1)
    tally = Chain(tiny, log_weight).run(40_000)
    assert largest_z(tally.trace[0], tiny.exact(log_weight)) < LARGEST_Z


@pytest.mark.parametrize(("low", "high"), [(3, 5), (0, 4), (5, 8)])
def test_a_window_is_never_left_and_a_rejected_move_counts_again(tiny, low, high):
    """Were rejected moves not counted, states near the ends would be visited too rarely."""
    assert tiny.is_connected(low, high, 3)
    log_weight = window(low, high, 0.3 * np.arange(N + 1))
    chain = Chain(tiny, log_weight)
    first = chain.walkers.level[0, 0]
    tally = chain.run(40_000)
    trace = tally.trace[0]
    assert trace.min() >= low
    assert trace.max() <= high
    assert np.array_equal(tally.visits[0], np.bincount(trace, minlength=N + 1))
    assert tally.accepted[0] < 40_000
    assert largest_z(trace, tiny.exact(log_weight)) < LARGEST_Z
    before = np.append(first, trace[:-1])
    left = np.bincount(before[before != trace], minlength=N + 1)
    assert np.array_equal(tally.changes[0], left)


def test_moves_within_a_round_are_all_counted(tiny):
    one, five = Chain(tiny, flat(tiny)), Chain(tiny, flat(tiny))
    single, rounds = one.run(1000), five.run(200, moves=5)
    assert np.array_equal(single.visits, rounds.visits)
    assert np.array_equal(single.trace[:, 4::5], rounds.trace)
    assert np.array_equal(one.weights, five.weights)


@pytest.mark.parametrize("interval", [1, 4])
def test_wang_landau_lowers_the_weight_of_what_it_visits(tiny, interval):
    chain = Chain(tiny, np.zeros(N + 1), ln_f=2.0**-6, interval=interval)
    found = chain.advance(2000)
    trace = found.tally.trace[0, 0]
    visits = np.bincount(trace[::interval], minlength=N + 1)
    assert np.array_equal(found.log_weight[0, 0], -visits * 2.0**-6)
    assert not chain.windows.log_weight.any()  # what was given stays as it was


def three_windows(tiny):
    """Overlapping windows with unlike weights, so that exchanges are often refused."""
    a = np.arange(N + 1)
    return np.array([window(0, 4, -0.5 * a), window(2, 6, 0.2 * a), window(4, 8, 0.9 * a)])


@pytest.mark.parametrize("mixture", [None, mixed(3)])
def test_exchanges_keep_windows_and_their_distributions(tiny, mixture):
    log_weight = three_windows(tiny)
    chain = Chain(tiny, log_weight, mixture=mixture)
    rounds = 60_000
    tally = chain.run(rounds)
    for w, (low, high) in enumerate([(0, 4), (2, 6), (4, 8)]):
        assert tiny.is_connected(low, high, 3)
        assert tally.trace[w].min() >= low
        assert tally.trace[w].max() <= high
        assert not np.delete(tally.visits[w], np.arange(low, high + 1)).any()
        assert largest_z(tally.trace[w], tiny.exact(log_weight[w])) < LARGEST_Z
    assert tally.attempts.tolist() == [rounds / 2, rounds / 2, 0]
    assert (tally.exchanges[:2] > 100).all()
    assert (tally.exchanges < rounds / 2 - 100).all()
    assert sorted(chain.walkers.replica[0]) == [0, 1, 2]


def test_round_trips_follow_the_replicas(tiny):
    chain, trips = Chain(tiny, three_windows(tiny)), 0
    went_up = dict.fromkeys(range(3))  # None before a visit to the lowest window
    for number in range(1500):
        counted = chain.run(1).round_trips.sum()
        bottom, _, top = chain.walkers.replica[0]
        finished = went_up[bottom] is True
        assert counted == finished, number
        trips += finished
        went_up[bottom] = False
        if went_up[top] is False:
            went_up[top] = True
    assert trips > 20


def test_test_accuracy_is_that_of_the_current_weights(tiny):
    chain = Chain(tiny, three_windows(tiny))
    full = 0
    for _ in range(200):
        tally = chain.run(1, moves=5, low=0)
        correct = chain.walkers.level[0]
        hits = np.array([tiny.count_test(w) for w in chain.weights])
        assert np.array_equal(tally.tests, np.bincount(correct, minlength=N + 1))
        assert np.array_equal(tally.test_sum, np.bincount(correct, hits, N + 1))
        at_top = np.bincount(hits[correct == N], minlength=N_TEST + 1)
        assert np.array_equal(tally.test_counts, at_top)
        full += at_top.sum()
    assert full > 0


def test_tests_are_made_above_a_level_and_every_few_rounds(tiny):
    log_weight = flat(tiny)
    traces = Chain(tiny, log_weight).run(700).trace[0]
    high = Chain(tiny, log_weight).run(700, low=6).tests
    assert np.array_equal(high, np.bincount(traces[traces >= 6], minlength=N + 1))
    some = Chain(tiny, log_weight).run(700, every=7).tests
    assert np.array_equal(some, np.bincount(traces[6::7], minlength=N + 1))


def test_a_chain_resumed_is_the_same_chain(tiny):
    whole, parts = Chain(tiny, three_windows(tiny)), Chain(tiny, three_windows(tiny))
    tally = whole.run(300, moves=3)
    pieces = [parts.run(rounds, moves=3) for rounds in (1, 99, 150, 50)]
    assert np.array_equal(tally.trace, np.concatenate([p.trace for p in pieces], axis=1))
    for name in ("visits", "changes", "accepted", "attempts", "exchanges", "round_trips"):
        total = sum(getattr(piece, name) for piece in pieces)
        assert np.array_equal(getattr(tally, name), total), name
    assert all(np.array_equal(a, b) for a, b in zip(whole.walkers, parts.walkers))


def test_two_threads_make_the_chains_of_one(tiny):
    def advance(threads):
        with ThreadPoolExecutor(threads) as pool:
            chain = Chain(tiny, three_windows(tiny), sets=4, pool=pool)
            return chain.advance(2000, moves=3, low=0)

    one, two = advance(1), advance(2)
    for a, b in ((one.walkers, two.walkers), (one.tally, two.tally)):
        assert all(np.array_equal(x, y) for x, y in zip(a, b))


def test_seeds_walker_sets_and_windows_have_their_own_numbers(tiny):
    """From the same weights; unrelated chains still share A now and then."""
    uniform = np.zeros(N + 1)
    reference = Chain(tiny, uniform).run(1000).trace[0]
    pairs = [(reference, Chain(tiny, uniform, seed=2).run(1000).trace[0])]
    pairs.append(Chain(tiny, uniform, sets=2).advance(1000).tally.trace[:, 0])
    pairs.append(Chain(tiny, [uniform, uniform]).run(1000).trace)
    for a, b in pairs:
        assert (a == b).mean() < 0.6


def test_uniform_draws_have_the_exact_density_and_their_counts(tiny):
    chains = CpuChains(tiny.system, 1, 1, seed=3)
    one_by_one = chains.draw(3000, 1)
    assert np.array_equal(one_by_one.visits.sum(axis=1), np.ones(3000))
    assert np.array_equal(one_by_one.tests, one_by_one.visits)
    correct, scores = one_by_one.visits.argmax(axis=1), one_by_one.test_sum.sum(axis=1)
    assert largest_z(correct, tiny.g) < LARGEST_Z
    assert tiny.count(one_by_one.last[0]) == correct[-1]
    assert tiny.count_test(one_by_one.last[0]) == scores[-1]

    grouped = chains.draw(4, 25)
    first = one_by_one.visits[:100].reshape(4, 25, -1).sum(axis=1)
    assert np.array_equal(grouped.visits, first)
    first = one_by_one.test_sum[:100].reshape(4, 25, -1).sum(axis=1)
    assert np.array_equal(grouped.test_sum, first)
