"""Parameters that a network or a training set is too small for: defaults adapt, others are refused.

A value is never lowered in silence.
"""

import copy

import numpy as np
import pytest
from test_bad_input import refusal
from test_config import SCHEMA_PATH, resolve

from volumetry.methods import rewl
from volumetry.networks import build_network
from volumetry.study import config
from volumetry.systems.classification import Problem
from volumetry.weights.binary import BinaryWeights

TINY = {"datasets": {"tiny": {"source": "teacher", "features": 2, "n": [2, 4]}}}
TINY |= {"architectures": {"perceptron": {}}}  # 4 weights
"""Networks and sizes that the defaults of some samplers are too large for."""


@pytest.mark.parametrize(
    ("sampler", "key", "most", "refused"),
    [(name, "flips", 3, 5) for name in ("rewl", "joint", "population_annealing")],
)
def test_what_a_user_names_and_cannot_have_is_refused(sampler, key, most, refused):
    samplers = {"rewl": {}, "joint": {}}
    assert resolve(TINY | {"samplers": samplers | {sampler: {key: most}}}).runs
    for value in (refused, 10**9 + 1):
        (line,) = refusal(resolve, TINY | {"samplers": samplers | {sampler: {key: value}}})
        assert line.startswith(f"samplers.{sampler}.{key} = {value}: must be "), line
        assert f"use {most} or less" in line and "remove the key" in line
        assert "architectures.perceptron on datasets.tiny" in line


def test_a_default_adapts_to_what_is_too_small_for_it():
    smaller = copy.deepcopy(TINY)
    smaller["datasets"]["tiny"]["features"] = 1
    study = resolve(smaller | {"samplers": {"rewl": {}, "joint": {}}})
    assert study.config["samplers"]["rewl"]["flips"] == 3 > 2
    assert config.resolve(study.config, SCHEMA_PATH).config == study.config


def test_a_job_refuses_it_too():
    """Whoever calls a sampler without a configuration is told the same."""
    space = BinaryWeights(128)
    assert [space.flips(wanted, 3) for wanted in (1, 3, 127)] == [1, 3, 127]
    (line,) = refusal(space.flips, 10**9, 3)
    assert line.startswith("flips = 1000000000: must be odd and below the number of weights, 128")
    assert [BinaryWeights(size).flips(3, 3) for size in (1, 2, 3, 4, 5)] == [1, 1, 1, 3, 3]
    assert refusal(BinaryWeights(2).flips, 3) == [
        "flips = 3: must be odd and below the number of weights, 2; use 1"
    ]
    network = build_network([], (2,), 2, 1)
    x, y = np.array([[1, 1], [-1, 1]]), np.array([0, 1])
    problem = Problem(network, x, y, x, y, x[:0], y[:0])
    (line,) = refusal(rewl.run, problem, rewl.Parameters(flips=5), 1)
    assert line.startswith("flips = 5: must be")
