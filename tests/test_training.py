import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from volumetry.errors import ConfigError
from volumetry.methods import model, training
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct, logits, predict
from volumetry.runtime import netcdf
from volumetry.study.registry import find
from volumetry.systems.classification import Problem
from volumetry.weights.binary import BinaryWeights

KINDS = [training.GdParameters, training.SgdParameters, training.SamParameters]
ARCHITECTURES = {
    "perceptron": ([], (1, 6, 6)),
    "flat perceptron": ([], (24,)),
    "no stem": (["linear 33"], (24,)),
    "two hidden": (["linear 17", "linear 9"], (1, 6, 6)),
    "convolution": (["conv 5", "pool", "linear 16"], (1, 6, 6)),
    "odd image": (["conv 4", "pool", "linear 16"], (2, 5, 7)),
    "deep": (["conv 4", "pool", "conv 3", "conv 4", "pool", "linear 16"], (2, 8, 8)),
    "pooled input": (["pool", "conv 4", "linear 16"], (1, 8, 8)),
    "pooled, no stem": (["pool", "linear 16"], (1, 8, 8)),
}
FAST = {"networks": 3, "max_epochs": 400, "extra_epochs": 8, "learning_rate": 5e-3}


def make_problem(layers, shape, n=24, n_classes=3, n_validation=30, seed=0):
    """Noisy copies of one random pattern a class: easy to fit, not trivially."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(-6, 7, (n_classes, *shape))

    def draw(count):
        y = np.arange(count) % n_classes
        return (patterns[y] + rng.integers(-5, 6, (count, *shape))).astype(np.int16), y

    sets = [array for count in (n, 60, n_validation) for array in draw(count)]
    bound = max(int(np.abs(x).max()) for x in sets[:4:2])
    return Problem(build_network(layers, shape, n_classes, 2 * bound), *sets)


@pytest.fixture
def problem():
    return make_problem(*ARCHITECTURES["convolution"])


def contradictory():
    problem = make_problem(["linear 8"], (12,), n=8, n_classes=2)
    problem.x_train[1] = problem.x_train[0]
    return problem


@pytest.mark.parametrize(("layers", "shape"), ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_logits_are_the_exact_integers_times_a_power_of_two(layers, shape):
    problem = make_problem(layers, shape)
    network, x = problem.network, problem.x_test
    rng = np.random.default_rng(1)
    weights = np.stack([BinaryWeights(network.n_weights).draw(rng) for _ in range(3)])
    images = model.as_images(network, x, like=problem.x_train)
    scaled = model.logits(
        network, torch.from_numpy(weights).float(), images.expand(3, *images.shape)
    )
    exact = np.stack([logits(network, w, x) for w in weights])
    scale = scaled.abs().max().item() / np.abs(exact).max()
    assert math.frexp(scale)[0] == 0.5
    np.testing.assert_array_equal(scaled.numpy(), exact * scale)


def test_ties_go_to_the_lowest_class():
    network = build_network([], (2,), 3, 5)
    x = np.array([[3, 3], [2, -2], [0, 0]])
    # Columns: the classes' weights (+,-), (-,+), (-,+).
    weights = np.array([1, -1, -1, -1, 1, 1], np.int8)
    assert predict(network, weights, x).tolist() == [0, 0, 0]
    images = model.as_images(network, x, like=x)
    scaled = model.logits(network, torch.from_numpy(weights).float()[None], images[None])
    assert scaled.argmax(dim=2).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("input_bound", [16, 200, 30_000])
def test_screening_lets_every_fit_through(input_bound):
    rng = np.random.default_rng(2)
    network = build_network(["conv 6", "pool", "linear 64"], (1, 12, 12), 10, input_bound)
    x = rng.integers(-input_bound, input_bound + 1, (100, 1, 12, 12))
    weights = np.stack([BinaryWeights(network.n_weights).draw(rng) for _ in range(6)])
    images = model.as_images(network, x, like=x)
    for w in weights:
        fits = training._may_fit(
            network,
            torch.from_numpy(weights).float(),
            images,
            torch.from_numpy(predict(network, w, x)),
        )
        assert fits.tolist() == [np.array_equal(w, other) for other in weights]


def test_screening_keeps_ties_for_the_exact_pass():
    network = build_network([], (2,), 2, 5)
    weights = np.array([1, 1, -1, -1], np.int8)
    x = np.array([[3, 3]])
    for label, fits in ((0, 1), (1, 0)):  # the tie goes to class 0
        y = np.array([label])
        assert training._may_fit(
            network,
            torch.from_numpy(weights).float()[None],
            model.as_images(network, x, like=x),
            torch.from_numpy(y),
        ).all()
        assert count_correct(network, weights, x, y) == fits


def test_sign_of_zero_is_plus_one():
    latents = torch.tensor([[-0.5, -0.0, 0.0, 1e-9, -1e-9]])
    network = build_network([], (5,), 2, 1)
    assert model.weights_of(network, latents).tolist() == [[-1, 1, 1, 1, -1]]


def test_the_gradient_goes_straight_through_to_the_latents():
    network = build_network([], (2,), 2, 4)
    x = np.array([[4, -2], [1, 3]])
    y = torch.tensor([[1, 0]])
    latents = torch.tensor([[0.01, -0.02, -0.9, 0.004]])
    # The mean square of x, 7.5, is nearest to (2**1)**2; that of the fan-in of 2 is on the border
    # between (2**0)**2 and (2**1)**2, and the even exponent is taken.
    images = model.as_images(network, x, like=x)
    scale = 1 / 2
    logit_scale = 3.0
    signs = np.array([[1.0, -1.0], [-1.0, 1.0]])
    out = logit_scale * scale * x @ signs
    probability = np.exp(out) / np.exp(out).sum(axis=1, keepdims=True)
    expected = logit_scale * scale * x.T @ (probability - [[0, 1], [1, 0]]) / 2

    parameters = training.GdParameters(logit_scale=logit_scale)
    weights = model.weights_of(network, latents)
    direction = training._direction(network, parameters, weights, images[None], y)
    np.testing.assert_allclose(direction.numpy()[0], expected.ravel(), rtol=1e-5)


@pytest.mark.parametrize("name", ["two hidden", "odd image", "deep", "pooled input"])
def test_gradient_against_finite_differences(name):
    problem = make_problem(*ARCHITECTURES[name], n=7)
    network, rng = problem.network, np.random.default_rng(3)
    weights = torch.from_numpy(rng.normal(size=(2, network.n_weights)))
    x = model.as_images(network, problem.x_train, like=problem.x_train).double()
    x = x.expand(2, *x.shape)
    y = torch.from_numpy(problem.y_train).expand(2, -1)

    def loss(weights):
        log_p = (2.0 * model.logits(network, weights, x)).log_softmax(dim=2)
        return -log_p.gather(2, y.unsqueeze(2)).mean(dim=(1, 2))

    gradient = model.gradient(network, weights, x, y, logit_scale=2.0)
    direction = torch.from_numpy(rng.normal(size=weights.shape))
    step = 1e-6 * direction
    slope = (loss(weights + step) - loss(weights - step)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(dim=1), slope, rtol=1e-5, atol=1e-8)


def test_one_step_of_adam_by_hand():
    adam = model.Adam(torch.tensor([[0.5, -0.999, 0.25]]), learning_rate=0.01, weight_decay=0.1)
    adam.step(torch.tensor([[1.0, 2.0, -0.025]]))
    # The first step is the learning rate times the sign; the third gradient is cancelled by decay.
    torch.testing.assert_close(adam.latents, torch.tensor([[0.49, -1.0, 0.25]]))
    adam.step(torch.tensor([[-1.0, 0.0, 0.0]]))
    gradients = [1.05, -1 + 0.1 * 0.49]
    mean = (0.1 * 0.9 * gradients[0] + 0.1 * gradients[1]) / (1 - 0.9**2)
    square = (0.001 * 0.999 * gradients[0] ** 2 + 0.001 * gradients[1] ** 2) / (1 - 0.999**2)
    assert adam.latents[0, 0].item() == pytest.approx(0.49 - 0.01 * mean / square**0.5, rel=1e-6)


def test_the_ascent_has_length_rho_for_each_network():
    gradient = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-6, 0.0]])
    ascent = model.ascend(gradient, rho=0.5)
    torch.testing.assert_close(ascent, torch.tensor([[0.3, 0.4], [0.0, 0.0], [0.5, 0.0]]))


def test_sam_takes_the_gradient_at_the_top_of_the_ascent(problem):
    network = problem.network
    rng = np.random.default_rng(4)
    latents = torch.stack([model.initial_latents(network, rng) for _ in range(2)])
    x = model.as_images(network, problem.x_train, like=problem.x_train)
    x, y = x.expand(2, *x.shape), torch.from_numpy(problem.y_train).expand(2, -1)
    parameters = training.SamParameters(rho=0.7, logit_scale=2.0)
    weights = model.weights_of(network, latents)
    first = model.gradient(network, weights, x, y, 2.0)
    top = weights + 0.7 * first / first.norm(dim=1, keepdim=True)
    expected = model.gradient(network, top, x, y, 2.0)
    direction = training._direction(network, parameters, weights, x, y)
    torch.testing.assert_close(direction, expected)
    assert not torch.allclose(direction, first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["no stem", "convolution", "deep"])
def test_networks_do_not_depend_on_each_other(kind, name):
    problem = make_problem(*ARCHITECTURES[name], n=27)
    batches = {} if kind is training.GdParameters else {"batch_size": 10}
    parameters = kind(**FAST | {"max_epochs": 40, "extra_epochs": 5}, **batches)
    together = training.train(problem, parameters, 5, range(3))
    for index, kept in enumerate(together):
        (alone,) = training.train(problem, parameters, 5, [index])
        assert (alone.epochs, alone.epoch) == (kept.epochs, kept.epoch)
        np.testing.assert_equal(alone.after_fit, kept.after_fit)
        np.testing.assert_array_equal(alone.last, kept.last)
        assert alone.weights.keys() == kept.weights.keys()
        for state in alone.weights:
            np.testing.assert_array_equal(alone.weights[state], kept.weights[state])


@pytest.mark.parametrize("name", ["no stem", "two hidden", "convolution", "odd image", "deep"])
def test_gradients_round_alike_alone_and_together(name):
    problem = make_problem(*ARCHITECTURES[name], n=13, n_classes=10)
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(4, problem.network.n_weights)).astype(np.float32)
    weights = torch.from_numpy(weights)
    x = model.as_images(problem.network, problem.x_train, like=problem.x_train)
    x, y = x.expand(4, *x.shape), torch.from_numpy(problem.y_train).expand(4, -1)
    with training._one_thread():
        together = model.gradient(problem.network, weights, x, y, 4.0)
        for k in range(4):
            row = slice(k, k + 1)
            alone = model.gradient(problem.network, weights[row], x[row], y[row], 4.0)
            assert torch.equal(alone, together[row])


def test_networks_differ(problem):
    trained = training.train(
        problem, training.GdParameters(**FAST | {"max_epochs": 1}), 5, range(3)
    )
    assert len({kept.last.tobytes() for kept in trained}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_result_whatever_the_threads(kind, problem):
    parameters = kind(**FAST)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = training.run(problem, parameters, 2**62, threads=1)
    assert first.identical(training.run(problem, parameters, 2**62, threads=2))
    assert not first.identical(training.run(problem, parameters, 1, threads=1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "shape"), ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_recorded_state_fits_exactly(kind, layers, shape, tmp_path):
    problem = make_problem(layers, shape, n=12)
    parameters = kind(**FAST)
    result = training.run(problem, parameters, 3)
    trained = training.train(problem, parameters, 3, range(3))

    assert result["converged"] == 1 and result["fitted"].values.all()
    for index, kept in enumerate(trained):
        one = result.isel(network=index)
        for state in training.SELECTIONS:
            weights = kept.weights[state]
            assert set(np.unique(weights)) <= {-1, 1}
            assert count_correct(problem.network, weights, problem.x_train, problem.y_train) == 12
            right = count_correct(problem.network, weights, problem.x_test, problem.y_test)
            assert one[f"test_accuracy_{state}"] == right / 60
            assert one[f"epoch_{state}"] == kept.epoch[state]
        right = count_correct(
            problem.network,
            kept.weights["best_validation"],
            problem.x_validation,
            problem.y_validation,
        )
        assert one["validation_accuracy"] == right / 30
        bits = np.unpackbits(one["weights"].values, count=problem.network.n_weights)
        np.testing.assert_array_equal(2 * bits.astype(int) - 1, kept.weights["best_validation"])
        assert (
            one["epoch_first_fit"]
            <= one["epoch_best_validation"]
            <= one["epoch_final"]
            <= one["epochs_trained"]
        )
        assert one["epochs_trained"] == min(400, one["epoch_first_fit"] + 8)
    accuracy = result["test_accuracy_best_validation"].values
    assert result["test_accuracy"] == accuracy.mean()
    assert result["test_accuracy_stderr"] == pytest.approx(accuracy.std(ddof=1) / math.sqrt(3))
    assert result["epochs"] == result["epochs_trained"].sum()
    netcdf.write(result, tmp_path / "result.nc")
    assert netcdf.read(tmp_path / "result.nc")["weights"].dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_fit_is_the_first(kind, problem):
    (kept,) = training.train(problem, kind(**FAST), 6, [0])
    first = kept.epoch["first_fit"]
    assert first > 1
    (before,) = training.train(problem, kind(**FAST | {"max_epochs": first - 1}), 6, [0])
    assert not before.fitted and before.epochs == first - 1
    (there,) = training.train(problem, kind(**FAST | {"extra_epochs": 0}), 6, [0])
    assert there.epochs == first
    np.testing.assert_array_equal(there.last, kept.weights["first_fit"])


def test_each_selection_picks_its_state():
    kept = training.Trained()
    for epoch, validation_accuracy in ((4, 0.5), (5, 0.7), (8, 0.7), (9, 0.6)):
        kept.epochs, kept.last = epoch, np.array([epoch])
        kept.record_fit(validation_accuracy)
    kept.epochs, kept.last = 10, np.array([10])  # a state that does not fit
    assert kept.epoch == {"first_fit": 4, "final": 9, "best_validation": 5}
    assert {state: w.item() for state, w in kept.weights.items()} == kept.epoch
    assert kept.validation_accuracy == 0.7


def test_networks_are_tested_on_the_way_after_their_first_fit(problem):
    np.testing.assert_array_equal(training.epochs_after_fit(35), [0, 1, 3, 10, 30])
    result = training.run(problem, training.SgdParameters(**FAST), 8)
    np.testing.assert_array_equal(result["epochs_after_fit"], [0, 1, 3])
    for index, first in enumerate(result["epoch_first_fit"].values):
        for look in (0, 1, 3):
            until = training.SgdParameters(**FAST | {"max_epochs": int(first) + look})
            (there,) = training.train(problem, until, 8, [index])
            right = count_correct(problem.network, there.last, problem.x_test, problem.y_test)
            tested = result["test_accuracy_after_fit"].sel(network=index, epochs_after_fit=look)
            assert tested == right / 60
    early = training.run(problem, training.SgdParameters(**FAST | {"max_epochs": int(first)}), 8)
    assert early["test_accuracy_after_fit"].isel(network=-1).notnull().values.tolist() == [
        True,
        False,
        False,
    ]


def test_looks_are_as_far_apart_as_asked(problem):
    for kept in training.train(problem, training.GdParameters(**FAST, look_every=7), 8, range(3)):
        assert kept.fitted
        assert all(epoch % 7 == 0 for epoch in kept.epoch.values())


def test_patience_ends_training_once_validation_no_longer_improves(problem):
    patient = FAST | {"extra_epochs": 300, "patience": 20, "look_every": 2}
    for kept in training.train(problem, training.GdParameters(**patient), 8, range(3)):
        assert kept.epochs == kept.epoch["best_validation"] + 40 < 300


@pytest.mark.parametrize("selection", training.SELECTIONS)
def test_the_selection_decides_the_accuracy(selection, problem):
    result = training.run(problem, training.SgdParameters(**FAST, selection=selection), 8)
    assert result["test_accuracy"] == result[f"test_accuracy_{selection}"].mean()
    network = problem.network
    bits = np.unpackbits(result["weights"].values, axis=1, count=network.n_weights)
    weights = (2 * bits.astype(int) - 1).astype(np.int8)
    right = [count_correct(network, w, problem.x_test, problem.y_test) for w in weights]
    np.testing.assert_array_equal(result[f"test_accuracy_{selection}"], np.divide(right, 60))


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_without_a_fit_says_so(kind):
    result = training.run(contradictory(), kind(**FAST | {"max_epochs": 30}), 0)
    assert result["converged"] == 0 and result["epochs"] == 90
    assert result["fitted"].values.tolist() == [0, 0, 0]
    assert np.isnan(result["test_accuracy"]) and np.isnan(result["test_accuracy_stderr"])
    for state in training.SELECTIONS:
        assert np.isnan(result[f"test_accuracy_{state}"]).all()
        assert (result[f"epoch_{state}"] == -1).all()
    assert result.attrs["verdict"] == (
        "None of the 3 networks fitted all 8 training examples within 30 epochs, so there is no "
        "test accuracy."
    )


def test_networks_that_did_not_fit_are_reported_beside_those_that_did(problem):
    everyone = training.train(problem, training.GdParameters(**FAST), 9, range(3))
    first = sorted(kept.epoch["first_fit"] for kept in everyone)
    assert first[0] < first[2]
    parameters = training.GdParameters(**FAST | {"max_epochs": first[2] - 1})
    result = training.run(problem, parameters, 9)
    fitted = result["fitted"].values.astype(bool)
    assert 0 < fitted.sum() < 3 and result["converged"] == 0
    accuracy = result["test_accuracy_best_validation"].values
    np.testing.assert_array_equal(np.isnan(accuracy), ~fitted)
    assert result["test_accuracy"] == accuracy[fitted].mean()
    assert result.attrs["verdict"] == (
        f"{fitted.sum()} of 3 networks fitted all 24 training examples (first fit after "
        f"{first[0]} to {first[fitted.sum() - 1]} epochs); the others did not within "
        f"{first[2] - 1} epochs and are left out of the test accuracy."
    )


def test_one_network_has_no_standard_error(problem):
    result = training.run(problem, training.GdParameters(**FAST | {"networks": 1}), 0)
    assert result["converged"] == 1 and np.isnan(result["test_accuracy_stderr"])


def test_selection_by_validation_needs_validation_examples():
    problem = make_problem(["linear 16"], (24,), n_validation=0)
    with pytest.raises(ConfigError, match=r"best_validation needs .* lower n, or set selection"):
        training.run(problem, training.GdParameters(**FAST), 0)
    result = training.run(problem, training.GdParameters(**FAST, selection="first_fit"), 0)
    assert result["converged"] == 1 and np.isfinite(result["test_accuracy"])
    assert np.isnan(result["test_accuracy_best_validation"]).all()
    assert (result["epoch_best_validation"] == -1).all()


def test_unknown_selection():
    with pytest.raises(ConfigError, match=r"'last'.*first_fit, final, best_validation"):
        training.GdParameters(selection="last")


def test_mini_batches_show_every_example_once_an_epoch():
    generators = [np.random.default_rng(seed) for seed in range(2)]
    batches = list(training._batches(training.SgdParameters(batch_size=4), 10, generators))
    assert [batch.shape for batch in batches] == [(2, 4), (2, 4), (2, 2)]
    orders = torch.cat(batches, dim=1)
    assert orders.sort(dim=1).values.tolist() == [list(range(10))] * 2
    assert orders[0].tolist() != orders[1].tolist()


def test_the_registry_loads_a_sampler_and_nothing_before():
    assert find("sam").load() == (training.SamParameters, training.run)
    with pytest.raises(ConfigError, match="unknown sampler 'sgdm': choose one of gd, sgd, sam"):
        find("sgdm")
    code = "import sys, volumetry.study.registry; heavy = {'torch', 'numba', 'xarray'};"
    code += "print(heavy & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
