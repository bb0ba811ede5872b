"""Networks that a volume sampler trains for itself: gradients are right, and they fit."""

import numpy as np
import pytest
import torch
from enumeration import random_problem
from exactly_solvable import perceptron_with_rule

from volumetry.methods import model, real_model  # noqa: F401
from volumetry.methods.descent import binary
from volumetry.methods.descent import network as asked
from volumetry.methods.descent.adam import descend
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct, pool_inputs
from volumetry.networks.real import ACTIVATIONS, build_real_network
from volumetry.systems.classification import Problem
from volumetry.weights.real import PRIORS

LAYERS = [(), ("linear 5",), ("conv 3", "pool", "linear 4"), ("pool", "conv 2", "conv 3", "pool")]


@pytest.mark.parametrize("layers", LAYERS)
def test_gradients_are_those_of_torch(layers):
    """Up to the scale of each layer, which the two choose differently."""
    network = build_network(layers, (2, 8, 7), 3, 5)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 2, 8, 7)).astype(np.float32)
    y = rng.integers(0, 3, 6)
    weights = rng.choice([-1, 1], network.n_weights).astype(np.float32)
    x = pool_inputs(network, x)
    own = asked.gradient_of(network, weights, x, y)
    fan_in = binary._fan_in(network)
    assert np.array_equal(fan_in, model.fan_in(network))
    layers_in = [fan_in[segment.first] for segment in network.segments]
    powers = [model._power_of_two(fan) for fan in layers_in]
    # The logits are homogeneous: the same network with other factors in front.
    ratio = np.prod([1 / np.sqrt(fan) / power for fan, power in zip(layers_in, powers)])
    scale = float(asked.LOGIT_SCALE * ratio)
    given = (torch.from_numpy(values)[None] for values in (weights, x, y))
    theirs = model.gradient(network, *given, scale)
    np.testing.assert_allclose(own, theirs[0].numpy(), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "layers, shape",
    [(("linear 5", "linear 4"), (7,)), (("conv 3", "pool", "conv 2 2x2", "linear 4"), (2, 7, 6))],
)
def test_gradients_of_real_weights_are_those_of_torch(layers, shape, activation):
    network = build_real_network(
        layers, shape, 3, prior="gaussian", biases=True, activation=activation
    )
    rng = np.random.default_rng(1)
    x, y = network.seen(rng.normal(size=(6, *shape))).astype(np.float32), rng.integers(0, 3, 6)
    x[:3] = np.maximum(x[:3], 0.5)  # much of an image is alike
    weights = network.space.draw(rng)
    given = (torch.from_numpy(values)[None] for values in (weights, x, y))
    theirs = model.gradient(network, *given, asked.LOGIT_SCALE / network.logit_scale)
    own = asked.gradient_of(network, weights, x, y)
    np.testing.assert_allclose(own, theirs[0].numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_real_weights_fit_where_the_prior_has_them(prior):
    rng = np.random.default_rng(2)
    x, y = rng.integers(-5, 6, (30, 20)), rng.integers(0, 3, 30)
    network = build_real_network(("linear 16",), (20,), 3, prior=prior, input_bound=5)
    problem = Problem(network, x, y, x, y, x[:0], y[:0])
    weights = descend(problem, 1, 0)
    assert weights.dtype == np.float32
    assert count_correct(network, weights, x, y) == 30
    assert prior == "gaussian" or (np.abs(weights) <= network.space.scale).all()


def test_a_trained_network_fits_and_is_the_same_again():
    problem = perceptron_with_rule(60, 60, 28).problem
    weights = descend(problem, 1, 0)
    assert count_correct(problem.network, weights, problem.x_train, problem.y_train) == 60
    again = descend(problem, 1, 0)
    assert np.array_equal(weights, again)


def test_where_nothing_fits_the_best_is_returned():
    problem = random_problem(1)  # the highest A there is is below n
    weights = descend(problem, 1, 0)
    correct = count_correct(problem.network, weights, problem.x_train, problem.y_train)
    assert 0 < correct < len(problem.y_train)
