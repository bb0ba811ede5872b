"""Layer lists, their shapes and bounds, and the plain forward pass, against small hand work."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from volumetry.engines import layout
from volumetry.errors import NetworkError
from volumetry.networks import PRESETS, build_network, parse_layers
from volumetry.networks.forward import (
    count_correct,
    exact_dtype,
    logits,
    max_pool,
    predict,
    split_weights,
)
from volumetry.weights.binary import BinaryWeights

N_WEIGHTS = {  # on 28x28 and ten classes
    "simple_cnn": 6 * 9 + 6 * 14 * 14 * 64 + 64 * 10,
    "simple_cnn_deep": 6 * 9 + 6 * 6 * 9 + 6 * 14 * 14 * 64 + 64 * 10,
    "simple_cnn_wide": 6 * 9 + 6 * 14 * 14 * 128 + 128 * 10,
    "perceptron": 28 * 28 * 10,
}


def test_weights_of_the_presets():
    assert N_WEIGHTS["simple_cnn"] == 75_958  # as published
    for preset in PRESETS:
        assert build_network(preset, (1, 28, 28), 10, 255).n_weights == N_WEIGHTS[preset]


def test_shapes_and_pools():
    layers = ["pool", "conv 3", "conv 4", "pool", "pool", "linear 5"]
    network = build_network(layers, (2, 21, 17), 3, 1)
    assert network.input_pools == 1
    assert [s.shape_in for s in network.stages] == [(2, 10, 8), (3, 10, 8)]
    assert [s.shape_out for s in network.stages] == [(3, 10, 8), (4, 2, 2)]
    assert [(t.inputs, t.outputs) for t in network.linears] == [(16, 5), (5, 3)]
    assert network.n_weights == 2 * 3 * 9 + 3 * 4 * 9 + 16 * 5 + 5 * 3
    assert network.n_classes == 3


def test_weights_are_split_in_the_documented_order():
    network = build_network(["conv 2", "linear 3"], (1, 2, 2), 2, 1)
    weights = np.arange(network.n_weights)
    conv, hidden, output = split_weights(network, weights)
    assert conv.shape == (2, 1, 3, 3)
    assert conv[1, 0, 1, 2] == 9 + 5
    assert hidden.shape == (8, 3)
    assert hidden[2, 1] == 18 + 7
    assert output.shape == (3, 2)
    assert output[2, 1] == network.n_weights - 1
    conv[0, 0, 0, 0] = -9
    assert weights[0] == -9  # a view


def test_random_weights_are_signs():
    network = build_network(["linear 64"], (100,), 10, 1)
    weights = BinaryWeights(network.n_weights).draw(np.random.default_rng(0))
    assert weights.dtype == np.int8
    assert weights.shape == (network.n_weights,)
    assert set(weights) == {-1, 1}
    assert abs(weights.sum(dtype=int)) < 4 * np.sqrt(network.n_weights)


def test_a_tie_goes_to_the_lowest_class():
    network = build_network("perceptron", (2,), 3, 10)
    weights = np.array([[-1, 1, 1], [1, 1, -1]], np.int8).ravel()
    x = np.array([[3, 4], [4, 0], [-4, 0], [0, 0]])
    expected = [[1, 7, -1], [-4, 4, 4], [4, -4, -4], [0, 0, 0]]
    assert logits(network, weights, x).tolist() == expected
    assert predict(network, weights, x).tolist() == [1, 1, 0, 0]
    assert count_correct(network, weights, x, np.array([1, 2, 0, 1])) == 2


def test_a_hidden_layer_has_relu_and_the_last_has_none():
    network = build_network(["linear 2"], (1,), 2, 10)
    weights = np.array([1, -1, 1, -1, -1, 1], np.int8)  # hidden (x, -x); out (a - b, b - a)
    assert logits(network, weights, np.array([[3], [-2]])).tolist() == [[3, -3], [-2, 2]]
    weights = np.array([1, 1, -1, 1, -1, 1], np.int8)  # hidden (x, x); out (-2 relu, 2 relu)
    assert logits(network, weights, np.array([[3], [-2]])).tolist() == [[-6, 6], [0, 0]]


def test_a_convolution_is_a_cross_correlation_with_zero_padding():
    network = build_network(["conv 1"], (1, 2, 3), 2, 10)
    kernel = np.array([[1, -1, 1], [1, 1, -1], [-1, 1, 1]])
    image = np.array([[1, 2, 3], [4, 5, 6]])
    maps = [8, 1 + 2 - 3 - 4 + 5 + 6, 2 + 3 - 5 + 6]  # (0, 0): 1 - 2 + 4 + 5, the rest is padding
    maps += [-1 + 2 + 4 - 5, 1 - 2 + 3 + 4 + 5 - 6, 2 - 3 + 5 + 6]
    for position in range(6):  # read one pixel: the difference of two sums with one sign changed
        plus, minus = np.ones((6, 2), int), np.ones((6, 2), int)
        minus[position] = -1
        out = [
            logits(network, np.append(kernel, head).astype(np.int8), image[None, None])
            for head in (plus, minus)
        ]
        assert (out[0] - out[1] == 2 * maps[position]).all()


def test_channels_of_a_convolution_add_and_relu_cuts():
    network = build_network(["conv 2"], (2, 1, 1), 2, 10)
    conv = np.ones((2, 2, 3, 3), int)
    conv[0, 1, 1, 1] = -1  # channel 0: a - b, channel 1: a + b; only the centres meet the pixel
    weights = np.append(conv, [[1, 1], [1, -1]]).astype(np.int8)
    x = np.array([[5, 3], [3, 5], [-3, -5]]).reshape(3, 2, 1, 1)
    assert logits(network, weights, x).tolist() == [[2 + 8, 2 - 8], [8, -8], [2, 2]]


def test_pooling_leaves_out_an_odd_last_row_and_column():
    image = np.array([[1, 5, 9], [2, 3, 9], [9, 9, 9]])
    assert max_pool(image).tolist() == [[5]]
    assert max_pool(-image).tolist() == [[-1]]
    wide = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    assert max_pool(wide).tolist() == [[[6, 8]], [[21, 23]]]


def test_a_pool_before_every_weight_pools_the_inputs():
    network = build_network(["pool", "linear 1"], (1, 3, 2), 2, 10)
    weights = np.array([-1, 1, -1], np.int8)
    x = np.array([[[[-1, -5], [-2, -3], [7, 7]]]])
    assert logits(network, weights, x).tolist() == [[1, -1]]


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ("simple_cnn_deep", (1, 9, 7)),
        (["pool", "conv 3", "conv 4", "pool", "linear 7", "linear 5"], (2, 9, 11)),
        (["conv 3", "pool", "pool"], (3, 7, 6)),
        (["linear 9", "linear 8"], (13,)),
    ],
)
def test_forward_equals_torch(layers, shape):
    network = build_network(layers, shape, 4, 50)
    rng = np.random.default_rng(1)
    weights = BinaryWeights(network.n_weights).draw(rng)
    x = rng.integers(-50, 51, (17, *shape))
    out, parts = torch.tensor(x, dtype=torch.float64), split_weights(network, weights)
    parts = [torch.tensor(part, dtype=torch.float64) for part in parts]
    for layer in (*network.layers, "last"):
        if layer == "pool":
            out = F.max_pool2d(out, 2)
        elif layer.startswith("conv"):
            out = F.relu(F.conv2d(out, parts.pop(0), padding=1))
        else:
            out = out.flatten(1) @ parts.pop(0)
            out = out if layer == "last" else F.relu(out)
    assert np.array_equal(logits(network, weights, x), out.numpy().astype(np.int64))


def test_batches_join_and_no_examples_are_allowed(monkeypatch):
    network = build_network("simple_cnn", (1, 4, 4), 3, 9)
    rng = np.random.default_rng(2)
    weights, x = BinaryWeights(network.n_weights).draw(rng), rng.integers(-9, 10, (23, 1, 4, 4))
    whole = logits(network, weights, x)
    monkeypatch.setattr("volumetry.networks.forward._BATCH_VALUES", 1000)
    assert np.array_equal(logits(network, weights, x), whole)
    assert logits(network, weights, x[:0]).shape == (0, 3)


def test_the_bound_is_reached_by_the_worst_weights():
    network = build_network(["linear 4", "linear 3"], (5,), 2, 7)
    assert network.bound == 7 * 5 * 4 * 3
    weights = np.ones(network.n_weights, np.int8)
    assert logits(network, weights, np.full((1, 5), 7)).tolist() == [[420, 420]]
    split_weights(network, weights)[2][:, 1] = -1
    assert logits(network, weights, np.full((1, 5), 7)).tolist() == [[420, -420]]

    image = build_network(["conv 2"], (1, 3, 3), 2, 7)
    assert [s.bound for s in image.stages] == [63]
    weights = np.ones(image.n_weights, np.int8)
    centre = split_weights(image, weights)[1]
    plus = logits(image, weights, np.full((1, 1, 3, 3), 7))
    centre[4] = -1
    assert (plus - logits(image, weights, np.full((1, 1, 3, 3), 7)) == 2 * 63).all()


@pytest.mark.parametrize(
    ("value", "rounding", "exact"),
    [(2**23 - 1, np.float32, np.float64), (2**55 - 1, np.float64, np.int64)],
)
def test_sums_beyond_the_mantissa_stay_exact(value, rounding, exact):
    network = build_network("perceptron", (3,), 2, value)
    assert exact_dtype(network.bound) == exact
    got = logits(network, np.ones(6, np.int8), np.full((1, 3), value))
    assert got.tolist() == [[3 * value, 3 * value]]
    assert int(rounding(3 * value)) != 3 * value


def test_exact_types_change_at_the_width_of_the_mantissa():
    assert exact_dtype(2**24 - 1) == np.float32
    assert exact_dtype(2**24) == np.float64
    assert exact_dtype(2**53 - 1) == np.float64


def test_presets_and_lists_are_parsed():
    assert parse_layers("simple_cnn") == ("conv 6", "pool", "linear 64")
    assert parse_layers(["conv 3", "pool"]) == ("conv 3", "pool")
    assert build_network("perceptron", (4,), 2, 1).layers == ()


@pytest.mark.parametrize(
    ("layers", "shape", "value", "repair"),
    [
        ("simple_cnm", (1, 8, 8), "'simple_cnm'", "choose one of simple_cnn, "),
        (["conv"], (1, 8, 8), "'conv'", "'conv C'"),
        (["conv 0"], (1, 8, 8), "'conv 0'", "whole numbers from 1"),
        (["linear -3"], (1, 8, 8), "'linear -3'", "'linear K'"),
        (["pool 2"], (1, 8, 8), "'pool 2'", "'pool'"),
        (["conv 3 "], (1, 8, 8), "'conv 3 '", "'conv C'"),
        ([64], (1, 8, 8), "64", "'linear K'"),
        (["linear 5", "conv 3"], (1, 8, 8), "layer 2 ('conv 3')", "before every linear layer"),
        (["linear 5", "pool"], (1, 8, 8), "layer 2 ('pool')", "before every linear layer"),
        (["conv 3"], (64,), "the input is (64,)", "(channels, height, width) inputs"),
        (["conv 3", "pool", "pool"], (1, 3, 8), "1x4", "remove a pool"),
        (["linear 1000000"] * 3, (1000,), "1000000", "fewer or narrower layers"),
    ],
)
def test_a_network_that_cannot_be_is_refused_with_value_and_repair(layers, shape, value, repair):
    with pytest.raises(NetworkError) as error:
        build_network(layers, shape, 10, 255)
    assert value in str(error.value)
    assert repair in str(error.value)


def test_overflow_is_refused_exactly_where_sums_of_three_leave_64_bits():
    most = ((2**63 - 1) // 3 - 1) // 2
    network = build_network("perceptron", (2,), 2, most)
    assert layout.sum_dtype(network) == np.int64
    with pytest.raises(NetworkError, match="use fewer flips"):
        layout.make_scratch(network, 4)
    with pytest.raises(NetworkError, match=rf"\(2,\) up to {most + 1} .*64-bit.* smaller"):
        build_network("perceptron", (2,), 2, most + 1)
