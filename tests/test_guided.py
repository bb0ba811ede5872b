"""Populations pulled towards trained networks find what an anneal passes by, and not too much."""

import numpy as np
import pytest
from enumeration import random_problem
from exactly_solvable import perceptron_of_blocks, perceptron_with_rule

from volumetry.methods import enumeration, guided
from volumetry.methods import population_annealing as annealing
from volumetry.methods.enumeration import Parameters as EnumerateParameters
from volumetry.methods.guided import AT_A_TIME, excess, guided_log_volumes
from volumetry.methods.population_annealing import Parameters
from volumetry.methods.setting import Setting
from volumetry.systems.classification import Classification
from volumetry.weights.binary import BinaryWeights
from volumetry.weights.moves import consecutive
from volumetry.weights.real import RealWeights

RULE = 60, 60, 28


def found(problem, seed, anneal, top=4.0):
    """ln V as guided populations have it, after an anneal that found ``anneal``."""
    system = Classification.over_correct(problem)
    setting = Setting.open("population_annealing", system, Parameters(), 1, seed, None)
    return guided_log_volumes(setting, Parameters().guides, top, anneal, seed)


@pytest.mark.slow
def test_volumes_are_not_too_high(monkeypatch):
    """The mean over 240 populations, within its own error; choosing steps costs a seventh."""
    monkeypatch.setattr(guided, "_MOVES", 300)
    problem = random_problem(6)
    exact = float(enumeration.run(problem, EnumerateParameters()).log_volume)
    known = exact + 1  # so that nothing is suspicious
    volumes = np.exp(np.concatenate([found(problem, seed, known) for seed in range(20)]) - exact)
    error = volumes.std(ddof=1) / np.sqrt(len(volumes))
    assert error < 0.08
    assert 0.7 < volumes.mean() < 1 + 3 * error


def test_a_hidden_rule_that_training_finds_is_found():
    solved = perceptron_with_rule(*RULE)
    log_volumes = found(solved.problem, 1, solved.log_p[-1])
    assert abs(np.log(np.exp(log_volumes).mean()) - solved.log_p[-1]) < 1


def test_an_anneal_that_misses_the_rule_is_not_converged():
    solved = perceptron_with_rule(*RULE)
    estimate = annealing.run(solved.problem, Parameters(max_anneals=4), 2)
    assert float(estimate.log_volume) < solved.log_p[-1] - 2
    assert not estimate.converged
    assert "populations pulled towards trained networks found" in estimate.attrs["verdict"]
    assert estimate.sizes["guide"] > AT_A_TIME
    assert estimate.sizes["population"] == 2 * Parameters().populations  # more would be in vain


def test_what_is_suspicious_is_looked_at_more_closely():
    solved = perceptron_with_rule(*RULE)
    assert len(found(solved.problem, 1, solved.log_p[-1] - 2)) == 4 * Parameters().guides
    assert len(found(solved.problem, 1, solved.log_p[-1] + 1)) == Parameters().guides


def test_what_is_hopeless_is_given_up():
    solved = perceptron_with_rule(*RULE)
    assert len(found(solved.problem, 1, solved.log_p[-1] + 20)) == AT_A_TIME


def test_an_anneal_that_misses_nothing_is_not_disturbed():
    solved = perceptron_of_blocks(60, 5, 2)
    estimate = annealing.run(solved.problem, Parameters(), 1)
    assert estimate.converged, estimate.attrs["verdict"]


SEGMENTS = consecutive([("one", 5), ("two", 3)])
SPACES = {
    "binary": BinaryWeights(8),
    "normal": RealWeights("gaussian", SEGMENTS, (0.5, 2.0)),
    "uniform": RealWeights("uniform", SEGMENTS, (0.5, 2.0)),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_field_has_the_weight_and_the_draws_it_should(space):
    """ln of the mean of exp(h w . f) by draws of the space; its slope by draws in the field."""
    rng = np.random.default_rng(1)
    field = np.array([space.toward(space.draw(rng)), space.toward(space.draw(rng))])
    field[1, 2:6] = 0
    strength, draws = 0.4, np.array([space.draw(rng) for _ in range(40_000)])
    for each, said in zip(field, space.log_mean_pull(field, strength)):
        factors = np.exp(strength * space.overlap(draws, each))
        error = factors.std() / np.sqrt(len(draws)) / factors.mean()
        assert error < 0.02
        assert abs(np.log(factors.mean()) - said) < 4 * error
    near, by = space.draw_pulled(field, strength, 20_000, rng), 1e-3
    more, less = (space.log_mean_pull(field, strength + change) for change in (by, -by))
    for own, each, slope in zip(near, field, (more - less) / (2 * by)):
        overlap = space.overlap(own, each)
        assert own.dtype == space.dtype
        assert abs(overlap.mean() - slope) < 4 * overlap.std() / np.sqrt(len(overlap))


@pytest.mark.parametrize(
    ("log_volumes", "stderr", "errors"),
    [
        ([-10.0] * 4, 0.1, 20.0),  # two nats more, and a tenth of a nat of error
        ([-13.0] * 4, 0.1, 0.0),  # less says nothing
        ([-11.95] * 4, 0.01, 0.0),  # less than matters
        ([-np.inf] * 4, 0.1, 0.0),
        ([-12 + np.log(1000)], 0.0, 3.0),  # of one alone, the inequality is all that is known
    ],
)
def test_excess(log_volumes, stderr, errors):
    assert excess(np.array(log_volumes), -12.0, stderr, 0.1) == pytest.approx(errors)


def test_whatever_is_found_where_an_anneal_found_nothing_was_missed():
    assert excess(np.array([-10.0, -np.inf]), -np.inf, np.nan, 0.1) == np.inf
    assert excess(np.array([-np.inf]), -np.inf, np.nan, 0.1) == 0


def test_one_population_among_many_that_found_nothing_counts_by_the_inequality():
    """Nothing is known of its error, but Pr[X >= c V] <= 1 / c."""
    alone = np.array([np.log(4) + np.log(1000) - 12, -np.inf, -np.inf, -np.inf])
    assert excess(alone, -12.0, 0.0, 0.1) == pytest.approx(3)
    assert pytest.approx(np.log(1000) / 3) == guided._MOST_ERROR
