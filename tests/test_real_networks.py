"""Networks with real weights: incremental evaluation against the plain one, and priors kept."""

import numpy as np
import pytest
import torch
from scipy import stats

from volumetry.engines import real as engine
from volumetry.engines.memory import state_bytes
from volumetry.errors import NetworkError
from volumetry.kernels import streams
from volumetry.kernels.jit import jit
from volumetry.methods import model, real_model  # noqa: F401
from volumetry.methods.guess_real import RealChecker
from volumetry.networks.real import (
    activate,
    build_real_network,
    count_correct,
    logits,
    split_weights,
)

NETWORKS = {
    "two hidden layers": (["linear 7", "linear 5"], "relu", True, "gaussian"),
    "perceptron": ([], "relu", False, "uniform"),
    "tanh": (["linear 6"], "tanh", True, "uniform"),
    "three hidden layers": (["linear 4", "linear 5", "linear 3"], "leaky_relu", False, "gaussian"),
    "linear": (["linear 4"], "linear", True, "gaussian"),
    "convolutions": (["conv 3", "pool", "conv 2 2x2", "linear 4"], "relu", True, "gaussian"),
    "pooled": (["pool", "conv 2 3x3", "conv 3", "pool"], "tanh", False, "uniform"),
}
SHAPES = {"convolutions": (2, 7, 6), "pooled": (1, 11, 9)}


@jit
def walk(plan, state, scratch, move, weights, kind, far, seed, moves, least):
    """Make moves, accepted where as many as ``least`` are right; the last number, and how many."""
    correct, accepted = engine.initialise(plan, state, weights), 0
    for step in range(moves):
        engine.propose(plan, weights, kind, far, seed, 1, step, move)
        new = engine.evaluate(plan, state, move, weights, scratch)
        if new >= least:
            engine.commit(plan, state, move, scratch)
            engine.put(plan, move, weights)
            correct = new
            accepted += 1
    return correct, accepted


def posed(name, n=40, features=9, classes=3):
    layers, activation, biases, prior = NETWORKS[name]
    shape = SHAPES.get(name, (features,))
    network = build_real_network(
        layers, shape, classes, prior=prior, biases=biases, activation=activation
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, *shape)), rng.integers(0, classes, n)
    return network, x, y, network.space.draw(rng)


def walked(network, x, y, weights, moves, *, far=0.5, changed=4, least=0):
    plan = engine.make_real_plan(network, x, y)
    state, scratch = (engine.make_real_state(network, len(x)) for _ in range(2))
    kind = np.array([0, network.n_weights, changed])
    room = engine.make_real_move(changed)
    return state, *walk(plan, state, scratch, room, weights, kind, far, 5, moves, least)


@pytest.mark.parametrize("name", NETWORKS)
def test_ten_thousand_moves_equal_the_forward_pass(name):
    """Rounding adds up to no more than 1e-12 on the way."""
    network, x, y, weights = posed(name)
    start = weights.copy()
    state, correct, accepted = walked(network, x, y, weights, 10_000)
    assert accepted == 10_000 and (weights != start).mean() > 0.99
    assert correct == count_correct(network, weights, x, y)
    found, exact = state.sums[-3:].T, logits(network, weights, x)
    assert np.abs(found - exact).max() < 1e-12 * np.abs(exact).max()


@pytest.mark.parametrize("name", ["perceptron", "two hidden layers"])
def test_a_rejected_move_leaves_nothing_behind(name):
    network, x, y, weights = posed(name)
    least = count_correct(network, weights, x, y)
    state, correct, accepted = walked(network, x, y, weights, 2000, least=least)
    assert 0 < accepted < 2000 and correct == count_correct(network, weights, x, y) >= least
    np.testing.assert_allclose(state.sums[-3:].T, logits(network, weights, x), atol=1e-12)


@pytest.mark.parametrize("far", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_moves_keep_the_prior(name, far):
    """A thousand walks from draws of the prior end with draws of the prior."""
    network, x, y, _ = posed(name)
    rng, scale = np.random.default_rng(1), network.space.scale
    plan = engine.make_real_plan(network, x, y)
    state, scratch = (engine.make_real_state(network, len(x)) for _ in range(2))
    kind, room = np.array([0, network.n_weights, 4]), engine.make_real_move(4)
    last = []
    for seed in range(1000):
        weights = network.space.draw(rng)
        walk(plan, state, scratch, room, weights, kind, far, seed, 50, 0)
        last.append(weights[::10] / scale[::10])
    cdf = stats.norm.cdf if network.space.prior == "gaussian" else stats.uniform(-1, 2).cdf
    assert stats.kstest(np.concatenate(last), cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_draws_are_those_of_the_prior_and_codes_lose_nothing(name):
    network, *_ = posed(name)
    space, drawn = network.space, []
    for step in range(300):
        weights = np.empty(space.size, np.float32)
        engine.draw_weights(3, 1, step, space.scale, space.prior == "uniform", weights)
        drawn.append(weights / space.scale)
        assert np.array_equal(space.decode(space.encode(weights)), weights)
    cdf = stats.norm.cdf if space.prior == "gaussian" else stats.uniform(-1, 2).cdf
    assert stats.kstest(np.concatenate(drawn), cdf).pvalue > 1e-3
    assert space.log_total == 0.0 and space.encode(weights).shape == (4 * space.size,)


def test_the_forward_pass_is_what_one_writes_by_hand():
    network, x, _, weights = posed("two hidden layers")
    one, two, three = split_weights(network, weights.astype(float))
    hidden = activate(x @ one[:, :-1].T + one[:, -1], "relu")
    hidden = np.maximum(hidden @ two[:, :-1].T + two[:, -1], 0)
    expected = hidden @ three[:, :-1].T + three[:, -1]
    np.testing.assert_allclose(logits(network, weights, x), expected, atol=1e-14)


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_has_the_same_logits(name):
    network, x, _, weights = posed(name)
    given = torch.from_numpy(weights)[None], model.as_images(network, x, x)[None]
    theirs, own = model.logits(network, *given)[0].numpy(), logits(network, weights, x)
    np.testing.assert_allclose(theirs, own, atol=1e-5 * np.abs(own).max())


def test_inputs_lose_their_mean_and_are_pooled():
    x = np.arange(16).reshape(1, 1, 4, 4)
    network = build_real_network(["pool"], (1, 4, 4), 2, prior="gaussian", normalise=[5, 2])
    assert network.seen(x).tolist() == [[0.0, 1.0, 4.0, 5.0]]


def test_no_examples_are_seen_as_none():
    network, x, *_ = posed("pooled")
    assert network.seen(x[:0]).shape == (0, 20)


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_is_what_a_state_takes(name):
    network, *_ = posed(name)
    state = engine.make_real_state(network, 5)
    assert sum(values.nbytes for values in state) == state_bytes(network, 5)


def test_many_examples_are_evaluated_like_few():
    network, x, _, weights = posed("convolutions", n=250)
    few = [logits(network, weights, part) for part in np.array_split(x, 50)]
    np.testing.assert_allclose(logits(network, weights, x), np.concatenate(few), atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_guesses_that_fit_are_those_of_the_forward_pass(name):
    network, x, y, weights = posed(name, n=3)
    found, own = RealChecker(network, x, y).check(3, 0, 400), []
    for guess in range(400):
        uniform = network.space.prior == "uniform"
        number = streams.stream(streams.GUESSES, 0)
        engine.draw_weights(np.uint64(3), number, guess, network.space.scale, uniform, weights)
        if count_correct(network, weights, x, y) == 3:
            own.append(guess)
    assert found.tolist() == own and own


def test_rounding_is_no_signal_where_no_unit_passes_anything_on():
    """Logits that went up and down again are not zero to the last bit; they are ties."""
    network = build_real_network(["linear 1"], (4,), 2, prior="gaussian")
    rng = np.random.default_rng(0)
    x, y = -rng.random((6, 4)), np.zeros(6, int)
    plan = engine.make_real_plan(network, x, y)
    state, scratch = (engine.make_real_state(network, len(x)) for _ in range(2))
    kind, room = np.array([0, 6, 4]), engine.make_real_move(4)
    found = []
    for seed in range(200):
        weights = network.space.draw(rng)
        correct, _ = walk(plan, state, scratch, room, weights, kind, 1.0, seed, 300, 0)
        if (state.values[:1] == 0).all():
            found.append((correct, np.abs(state.sums[1:]).max()))
    assert len(found) > 10 and not any(correct for correct, _ in found)
    assert max(largest for _, largest in found) > 0


def test_a_tie_is_wrong():
    network = build_real_network([], (2,), 2, prior="gaussian")
    weights = np.array([1, 0, 1, 0], np.float32)  # both logits are the first input
    assert count_correct(network, weights, np.array([[1.0, 2.0]]), np.array([0])) == 0


@pytest.mark.parametrize(
    "more, said",
    [
        ({"prior": "cauchy"}, "weights = 'cauchy': must be one of gaussian, uniform"),
        ({"activation": "gelu"}, "activation = 'gelu': must be one of linear, relu"),
        ({"scale": -1.0}, "scale = -1.0: must be a positive number"),
        ({"scale": "xavier"}, "scale = 'xavier': must be fan_in, fan_out, kaiming"),
        ({"scale": [1.0]}, "1 numbers for 2 layers"),
        (
            {"layers": ["conv 3", "linear 4"]},
            "layer 1 ('conv 3') of [conv 3, linear 4] needs images",
        ),
        ({"layers": ["linear 3x3"]}, "layer 'linear 3x3' is not one of"),
        ({"normalise": [0.0, -1.0]}, "must be a mean and a positive standard deviation"),
        ({"scale": 1e-30}, "scale = 1e-30: must be a positive number, from 1e-06 to 1e+06"),
        ({"layers": ["linear 999999999"]}, "weights, more than 1,000,000,000: use fewer"),
    ],
)
def test_what_cannot_be_built_is_refused(more, said):
    given = {"layers": ["linear 4"], "prior": "gaussian"} | more
    with pytest.raises(NetworkError) as caught:
        build_real_network(given.pop("layers"), (9,), 3, **given)
    assert said in str(caught.value)
