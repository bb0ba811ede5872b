"""Matrix sensing: its engine against the plain forward pass, closed forms, and what is refused."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from made_runs import write_run
from scipy import integrate, stats
from test_config import resolve as resolved

from volumetry.chains.devices import open_chains
from volumetry.chains.records import Schedule, Windows
from volumetry.datasets.matrix_sensing import Options, left_out, measure
from volumetry.datasets.storage import dataset_to_xarray, draw_subset_of
from volumetry.errors import VolumetryError
from volumetry.methods import guess_and_check, population_annealing, rewl, sensing_gd
from volumetry.methods.descent.sensing import descend, loss_gradient
from volumetry.networks.real import build_real_network
from volumetry.report import answer
from volumetry.report.page import render
from volumetry.results.aggregate import aggregate
from volumetry.results.tables import write_tables
from volumetry.runtime import netcdf
from volumetry.study.job import Task, run_job
from volumetry.study.registry import METHODS
from volumetry.systems.sensing import SensingProblem


def pose(layers, shape=(4, 3), n=7, activation="linear", prior="gaussian", norm=0.0, epsilon=0.02):
    """A problem with orthonormal measurements: single entries."""
    rows, columns = shape
    options = Options(rows, columns, 1, "completion")
    drawn = measure(options, 5)
    network = build_real_network(
        layers, (columns,), rows, prior=prior, scale="fan_out", activation=activation
    )
    return SensingProblem.of(network, drawn.truth, drawn.matrices[:n], epsilon, norm)


@pytest.mark.parametrize(
    "layers, activation, prior, norm",
    [
        ([], "linear", "gaussian", 0.0),
        (["linear 6"], "linear", "gaussian", 0.0),
        (["linear 6"], "relu", "uniform", 1.0),
        (["linear 3", "linear 5", "linear 3"], "tanh", "gaussian", 0.0),
        (["linear 3", "linear 3"], "leaky_relu", "gaussian", 1.0),
    ],
)
def test_walkers_stand_where_the_plain_forward_pass_puts_them(layers, activation, prior, norm):
    system = pose(layers, activation=activation, prior=prior, norm=norm).system
    chains = open_chains(system, 8, 2, 7)
    rng = np.random.default_rng(1)
    walkers = chains.place(np.array([[system.space.draw(rng)] for _ in range(2)]))
    weight = 0.3 * system.grid.coordinate[None, :].astype(float)
    windows = Windows.fixed(weight, np.zeros(1, np.int64))
    for _ in range(10):
        done = chains.advance(walkers, windows, 20, 30, Schedule(low=0))
        walkers = done.walkers
        seen = [system.observe(weights) for weights in done.top]
        assert [level for level, _ in seen] == walkers.levels[:, 0].tolist()
        assert done.tally.accepted.sum() > 0
    assert done.tally.tests.sum() == 40 and (done.tally.test_counts.sum(axis=1) <= 20).all()
    assert all(0 <= score <= system.largest_score for _, score in seen)


def test_levels_and_scores_are_bins_of_the_losses():
    problem = pose(["linear 6"])
    system, rng = problem.system, np.random.default_rng(2)
    goal = np.flatnonzero(system.grid.goal)
    assert goal.tolist() == [system.grid.size - 1] and system.edges[-1] == problem.epsilon
    for scale in (1.0, 0.3, 0.05):
        weights = scale * problem.space.draw(rng)
        (train, test), (level, score) = problem.losses(weights), system.observe(weights)
        product = problem.product(weights)
        known = [np.sum(a * product) for a in problem.matrices]
        assert train == pytest.approx(np.mean((known - problem.values) ** 2))
        bounds = np.concatenate([[np.inf], system.edges, [0.0]])
        assert bounds[level + 1] <= train < bounds[level]
        assert system.score_values[score] == pytest.approx(test, rel=0.011)


def test_the_basis_is_all_that_measurements_leave_out():
    drawn = measure(Options(4, 3, 2), 3)
    assert np.linalg.matrix_rank(drawn.truth) == 2
    assert np.linalg.norm(drawn.truth) == pytest.approx(1)
    matrices = drawn.matrices[:7].reshape(7, -1)
    np.testing.assert_allclose(np.linalg.norm(matrices, axis=1), 1)
    basis = left_out(drawn.matrices[:7]).reshape(5, -1)
    np.testing.assert_allclose(basis @ basis.T, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(basis @ matrices.T, 0, atol=1e-12)


def chance(problem, variance):
    """Probability that independent normal entries of that variance fit."""
    n, far = len(problem.values), np.sum(problem.values**2) / variance
    return stats.ncx2.cdf(n * problem.epsilon / variance, n, far)


def one_layer():
    """A matrix of independent normal entries: ln V, and the mean loss on what was not measured."""
    problem = pose([], shape=(3, 3), n=5, epsilon=0.05)
    variance = 1 / 3
    return problem, np.log(chance(problem, variance)), np.mean(variance + problem.basis_values**2)


def two_layers():
    """One column: given the first layer, a vector u, entries are normal of variance |u|^2 / rows,
    and |u|^2 is chi-squared over its number of entries (Wishart of one dimension)."""
    rows, width = 6, 4
    problem = pose([f"linear {width}"], shape=(rows, 1), n=4, epsilon=0.03)

    def of(function):
        def inside(square):
            variance = square / width / rows
            return stats.chi2.pdf(square, width) * chance(problem, variance) * function(variance)

        return integrate.quad(inside, 0, 60, limit=200)[0]

    volume = of(lambda variance: 1.0)
    loss = of(lambda variance: variance + np.mean(problem.basis_values**2)) / volume
    return problem, np.log(volume), loss


CLOSED = {"one layer": one_layer, "two layers": two_layers}
GUESSES = guess_and_check.Parameters(hits=400, max_guesses=10**7)
MEMBERS = population_annealing.Parameters(rung_sweeps=4.0, ln_v_error=0.01, accuracy_error=0.05)
WALKERS = rewl.Parameters(ln_v_error=0.01, accuracy_error=0.05)


@pytest.mark.parametrize(
    "seeds", [range(2), pytest.param(range(20), marks=pytest.mark.long)], ids=["two", "twenty"]
)
@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_met(name, seeds):
    problem, log_volume, loss = CLOSED[name]()
    scores, refused = [], 0  # one run in a hundred lags by chance
    for seed in seeds:
        for method, parameters in (
            (guess_and_check, GUESSES),
            (population_annealing, MEMBERS),
            (rewl, WALKERS),
        ):
            found = method.run(problem, parameters, seed)
            refused += not found.converged
            for variable, truth in (("log_volume", log_volume), ("test_loss", loss)):
                z = (found[variable] - truth) / found[f"{variable}_stderr"]
                rare = stats.t.sf(abs(z), found[f"{variable}_df"])
                scores.append(float(np.sign(z) * stats.norm.isf(rare)))
    assert refused <= len(seeds) / 10
    table = np.reshape(scores, (len(seeds), 3, 2))  # (seeds, samplers, quantities)
    print(name, table.mean(axis=0).round(2).tolist(), (table**2).mean(axis=0).round(2).tolist())
    print(int((np.abs(table) < 1.96).sum()), "of", table.size, "intervals of 95 % hold the truth")
    assert np.abs(scores).max() < (4.5 if len(seeds) > 2 else 4)
    if len(seeds) > 2:
        assert 0.7 < np.mean(np.square(scores)) < 1.4, np.mean(np.square(scores))


def test_wide_layers_come_to_independent_entries():
    """At infinite width the product of two layers has independent normal entries of variance
    1 / rows."""
    problem = pose(["linear 400"], shape=(3, 3), n=5, epsilon=0.05)
    found = population_annealing.run(problem, MEMBERS, 3)
    assert float(found.log_volume) == pytest.approx(np.log(chance(problem, 1 / 3)), abs=0.25)


def test_guesses_that_hit_are_those_below_epsilon():
    problem = pose(["linear 6"], n=4, epsilon=0.1)
    parameters = guess_and_check.Parameters(hits=5, max_guesses=3000)
    guesses, hits = guess_and_check.search(problem, parameters, 11, threads=2)
    own = [
        problem.losses(guess_and_check.guessed_weights(problem.network, 11, number))[0]
        for number in range(guesses)
    ]
    assert hits == np.flatnonzero(np.array(own) < problem.epsilon).tolist() and hits


@pytest.mark.parametrize("activation", ["linear", "tanh", "leaky_relu", "relu"])
def test_gradient_against_finite_differences(activation):
    problem = pose(["linear 5", "linear 4"], activation=activation)
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(2, problem.network.n_weights))
    loss, gradient = loss_gradient(problem, weights)
    for network in range(2):
        assert loss[network] == pytest.approx(problem.losses(weights[network])[0])
        for place in rng.choice(weights.shape[1], 8, replace=False):
            step = np.zeros_like(weights)
            step[network, place] = 1e-6
            ends = [loss_gradient(problem, weights + s * step)[0] for s in (1, -1)]
            slope = (ends[0] - ends[1])[network] / 2e-6
            assert gradient[network, place] == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    "layers, norm, prior",
    [
        ([], 0.0, "gaussian"),
        (["linear 6"], 0.0, "uniform"),
        (["linear 5"] * 5, 1.0, "gaussian"),
        (["linear 5"] * 5, 1.0, "uniform"),
    ],
)
def test_a_descent_of_its_own_ends_below_epsilon(layers, norm, prior):
    problem = pose(layers, norm=norm, epsilon=0.005, prior=prior)
    weights = descend(problem, 3, 1)
    assert weights.dtype == problem.space.dtype
    assert problem.system.observe(weights)[0] == problem.system.grid.size - 1
    np.testing.assert_array_equal(weights, descend(problem, 3, 1))
    assert not np.array_equal(weights, descend(problem, 3, 2))
    assert prior == "gaussian" or (np.abs(weights) <= problem.space.scale).all()


@pytest.mark.parametrize("optimiser, rate", [("rms", 1e-3), ("plain", 0.1)])
def test_gradient_descent_from_small_weights_finds_the_matrix(optimiser, rate):
    options = Options(5, 5, 1)
    drawn = measure(options, 8)
    network = build_real_network(
        ["linear 10"], (5,), 5, prior="gaussian", scale="fan_out", activation="linear"
    )
    problem = SensingProblem.of(network, drawn.truth, drawn.matrices[:20], 0.02)
    parameters = sensing_gd.Parameters(networks=3, optimiser=optimiser, learning_rate=rate)
    found = sensing_gd.run(problem, parameters, 1)
    assert found.fitted.values.tolist() == [1, 1, 1] and found.converged
    assert (found.train_loss_of_network < 0.01 * problem.epsilon * 1.001).all()
    assert float(found.test_loss) < 0.005 < np.mean(problem.basis_values**2)
    alone = sensing_gd.run(
        problem, sensing_gd.Parameters(networks=1, optimiser=optimiser, learning_rate=rate), 1
    )
    assert alone.test_loss_of_network[0] == pytest.approx(found.test_loss_of_network[0])
    short = sensing_gd.run(problem, sensing_gd.Parameters(networks=2, max_epochs=3), 1)
    assert not short.converged and "0 of 2 networks" in short.attrs["verdict"]
    wild = sensing_gd.Parameters(networks=2, optimiser="plain", learning_rate=1e6)
    lost = sensing_gd.run(problem, wild, 1)
    assert not lost.converged and np.isnan(lost.test_loss)
    assert "lower learning_rate" in lost.attrs["verdict"]


FACTORS = {"layers": ["linear 5"], "weights": "gaussian", "activation": "linear"}
SENSING = {"source": "matrix_sensing", "n": [15]}


def configured(dataset=None, architecture=None, samplers=("sensing_gd", "guess_and_check")):
    return {
        "datasets": {"matrix": SENSING | (dataset or {})},
        "architectures": {"factors": FACTORS | (architecture or {})},
        "samplers": {name: {} for name in samplers},
    }


def test_a_configuration_of_matrix_sensing():
    study = resolved(configured())
    assert study.config["datasets"]["matrix"]["epsilon"] == 0.02
    assert study.networks["matrix", "factors"].n_weights == 50
    assert resolved(study.config).config == study.config
    assert all(study.memory_mb(run) > 0 for run in study.runs)


@pytest.mark.parametrize(
    "dataset, architecture, samplers, said",
    [
        ({"rank": 6}, {}, (), "rank = 6: a matrix of 5 x 5 has rank 5 at most"),
        ({"n": [8]}, {}, (), "n = 8: a 5 x 5 matrix of rank 1 has 9 numbers free"),
        ({"n": [25]}, {}, (), "use n from 9 to 24"),
        ({"epsilon": 0}, {}, (), "epsilon = 0: must be above 0"),
        ({"epsilon": -1}, {}, (), "epsilon = -1: must be above 0"),
        ({"measurements": "noise"}, {}, (), "must be one of gaussian, completion"),
        ({"label_noise": 0.5}, {}, (), "label_noise = 0.5: matrix_sensing has none"),
        ({"n_validation": 5}, {}, (), "n_validation = 5: matrix_sensing has none"),
        ({"n_test": 5}, {}, (), "n_test = 5: matrix_sensing has none"),
        ({"classes": [0, 1]}, {}, (), "classes = [0, 1]: matrix_sensing has none"),
        ({}, {"biases": True}, (), "architectures.factors: it has biases"),
        ({}, {"scale": -1}, (), "scale = -1: must be above 0"),
        ({}, {}, ("gd",), "samplers.gd: it does not know sensing"),
        ({}, {}, ("joint",), "samplers.joint: it does not know sensing"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(dataset, architecture, samplers, said):
    with pytest.raises(VolumetryError, match=re.escape(said)) as caught:
        resolved(configured(dataset, architecture, samplers or ("guess_and_check",)))
    assert "\n" not in str(caught.value)


def test_binary_weights_and_other_samplers_are_refused():
    given = configured() | {"architectures": {"binary": {"layers": ["linear 5"]}}}
    with pytest.raises(VolumetryError, match=r"architectures\.binary: it has binary weights"):
        resolved(given)
    given = configured(samplers=["sensing_gd"])
    given["datasets"] = {"digits": {"source": "digits", "n": [10]}}
    with pytest.raises(VolumetryError, match="sensing_gd: it does not know classification"):
        resolved(given)


def test_a_goal_has_to_be_one():
    with pytest.raises(VolumetryError, match=r"epsilon = 0\.9: half of the weights drawn"):
        pose(["linear 6"], epsilon=0.9).check_prior()
    network = build_real_network(
        ["linear 3"] * 40, (3,), 4, prior="gaussian", scale=1e6, activation="linear"
    )
    with pytest.raises(VolumetryError, match=r"scale: weights drawn .* not finite"):
        replace(pose([]), network=network).check_prior()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three matrices, two widths, all samplers that there are."""
    folder = tmp_path_factory.mktemp("sensing")
    spec = SENSING | {"epsilon": 0.1}
    dataset = dataset_to_xarray(Options(epsilon=0.1), spec)
    netcdf.write(dataset, folder / "dataset.nc")
    settings = {
        "sensing_gd": {"networks": 2},
        "guess_and_check": {"hits": 50, "max_guesses": 20_000},
        "population_annealing": {"members": 50, "rung_sweeps": 1.0, "accuracy_error": 0.1},
    }
    files = []
    for replicate in range(3):
        subset = draw_subset_of(dataset, n_validation=0, label_noise=0.0, seed=replicate)
        netcdf.write(subset, folder / f"{replicate}.nc")
        for width in (5, 20):
            for name, given in settings.items():
                method = METHODS[name]
                architecture = FACTORS | {
                    "layers": [f"linear {width}"],
                    "scale": "fan_out",
                    "biases": False,
                }
                cell = {
                    "dataset": "matrix",
                    "architecture": f"width_{width}",
                    "n": 15,
                    "replicate": replicate,
                    "sampler": name,
                }
                task = Task(method.module, given, replicate, architecture, "", {"cpu": []})
                paths = folder / "dataset.nc", folder / f"{replicate}.nc"
                files.append(folder / f"{name}-{width}-{replicate}.nc")
                netcdf.write(run_job(*paths, cell, task), files[-1])
    return aggregate(files, architectures=["width_5", "width_20"])


def test_a_study_says_how_the_loss_goes_with_the_architecture(study):
    assert study["test_accuracy"].isnull().all() and study["error_bound"].isnull().all()
    assert (study["converged"] == 1).all()
    loss = np.log(study["test_loss"]).squeeze()
    np.testing.assert_allclose(
        np.log(study["test_loss_mean"]).squeeze(), loss.mean("replicate"), atol=1e-12
    )
    change = (loss.isel(architecture=1) - loss.isel(architecture=0)).mean("replicate")
    np.testing.assert_allclose(np.log(study["test_loss_ratio"]).squeeze(), change, atol=1e-12)
    factor = loss.sel(sampler="population_annealing") - loss.sel(sampler="sensing_gd")
    found = np.log(study["test_loss_factor"]).squeeze().sel(sampler="sensing_gd")
    np.testing.assert_allclose(found, factor.mean("replicate"), atol=1e-12)
    assert (np.abs(study["sum_rule"].sel(sampler="population_annealing")) < 0.2).all()
    assert (study["hits_p"].sel(sampler="population_annealing") > 1e-3).all()
    assert (np.abs(study["guessed_loss_z"]) < 4).all()
    said = answer.headlines(study)
    mean = study["test_loss_mean"].sel(sampler="population_annealing").squeeze()
    assert f"from {float(mean[0]):.4f} [" in said[0] and f"to {float(mean[1]):.4f} [" in said[0]
    assert "GD from small weights" in said[1] and len(said) == 3


def losses(folder, sampler, loss, volume=-5.0, converged=True):
    """Two architectures, three replicates, of one sampler: the second loses twice as much."""
    for number, architecture in enumerate(("a", "b")):
        for replicate in range(3):
            yield write_run(
                folder,
                sampler,
                15,
                replicate,
                dataset="matrix",
                architecture=architecture,
                converged=converged,
                test_loss=loss * (1 + number) * (1 + 0.01 * replicate),
                test_loss_stderr=0.01 * loss,
                test_loss_df=3,
                log_volume=volume,
                log_volume_stderr=0.1,
            )


def test_samplers_that_differ_in_the_loss_contradict_each_other(tmp_path):
    runs = [*losses(tmp_path, "rewl", 0.3), *losses(tmp_path, "population_annealing", 0.6)]
    study = aggregate(runs)
    assert (study["converged"] == 0).all()
    assert "finds another loss" in study["verdict"].values.ravel()[0]
    assert (study["loss_z"] < -4).all() and (study["volume_z"] == 0).all()
    contrast = study["log_loss_contrast"].sel(architecture="b", sampler="rewl").squeeze()
    assert float(contrast) == pytest.approx(np.log(2))
    assert "generalisation loss: Random interpolator (REWL) and" in render(study, None, "")


def test_the_answer_is_that_of_a_sampler_that_converged(tmp_path):
    runs = [
        *losses(tmp_path, "rewl", 0.3, converged=False),
        *losses(tmp_path, "population_annealing", 0.6),
    ]
    assert "from 0.60" in answer.headlines(aggregate(runs))[0]


def test_losses_stand_in_the_tables(study, tmp_path):
    write_tables(study, [], tmp_path)
    with (tmp_path / "runs.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert {row["test_loss"] == "" for row in rows} == {False} and len(rows) == 18
    assert ",test_loss," in (tmp_path / "columns.csv").read_text()


def test_its_report_has_its_own_question_and_figures(study):
    page = render(study, None, "")
    assert "Does what fits by chance generalise" in page
    assert 'id="sensing_loss"' in page and 'id="sensing_volume"' in page
    assert 'id="advantage"' not in page and "generalisation loss</th>" in page
