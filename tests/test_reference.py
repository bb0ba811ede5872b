"""Whose interpolators the trained networks are compared with, where several samplers ran."""

import numpy as np
import pytest
from test_results import cell, write_run

from volumetry.results.aggregate import aggregate

VOLUME = {"log_volume_stderr": 0.1, "log_volume_df": 7.0, "test_accuracy_df": 7.0}


def two_references(folder, rewl, annealing):
    """A study of one cell with gd and two volume samplers, whose results begin to differ here."""
    numbers = {"log_volume": -20.0, "test_accuracy": 0.5, "test_accuracy_stderr": 0.01} | VOLUME
    return aggregate(
        [
            write_run(folder, "gd", 10, 0, test_accuracy=0.9, test_accuracy_stderr=0.01),
            write_run(folder, "rewl", 10, 0, **numbers | rewl),
            write_run(folder, "population_annealing", 10, 0, **numbers | annealing),
        ]
    )


def test_the_first_volume_sampler_that_converged_is_the_reference(tmp_path):
    for rewl, annealing, chosen, advantage in (
        ({}, {"test_accuracy": 0.51}, "rewl", 0.4),
        ({"converged": False}, {"test_accuracy": 0.51}, "population_annealing", 0.39),
        ({"converged": False}, {"converged": False}, "rewl", 0.4),
    ):
        study = two_references(tmp_path, rewl, annealing)
        assert cell(study, "reference", n=10, replicate=0) == chosen
        assert cell(study, "advantage", n=10, sampler="gd") == pytest.approx(advantage)
        some = rewl.get("converged", True) or annealing.get("converged", True)
        assert cell(study, "advantage_converged", n=10, sampler="gd") == some


def test_volume_samplers_that_contradict_each_other_did_not_converge(tmp_path):
    for difference, quantity in (({"log_volume": -22.0}, "ln V"), ({"test_accuracy": 0.7}, "acc")):
        study = two_references(tmp_path, {}, difference)
        for own, rival in (("rewl", "population_annealing"), ("population_annealing", "rewl")):
            here = {"n": 10, "replicate": 0, "sampler": own}
            assert cell(study, "converged", **here) == 0
            told = cell(study, "verdict", **here)
            assert told.startswith(f"not converged: {rival} finds another {quantity}"), told
        assert cell(study, "advantage_converged", n=10, sampler="gd") == 0


def test_each_two_of_three_volume_samplers_are_compared(tmp_path):
    """One that contradicts the first is not spared by what another did to the first."""
    numbers = {"test_accuracy": 0.5, "test_accuracy_stderr": 0.01} | VOLUME
    volumes = {"rewl": -50.0, "population_annealing": -60.0, "joint": -40.0}
    runs = [write_run(tmp_path, s, 10, 0, log_volume=v, **numbers) for s, v in volumes.items()]
    study = aggregate(runs)
    for sampler in volumes:
        here = {"n": 10, "replicate": 0, "sampler": sampler}
        assert cell(study, "converged", **here) == 0
        for rival in volumes.keys() - {sampler}:
            assert f"{rival} finds another ln V" in cell(study, "verdict", **here)


def test_a_sampler_that_found_nothing_is_the_last_resort(tmp_path):
    nothing = {"converged": False, "log_volume": np.nan, "test_accuracy": np.nan}
    for annealing, chosen in (({"converged": False}, "population_annealing"), (nothing, "rewl")):
        study = two_references(tmp_path, nothing, annealing)
        assert cell(study, "reference", n=10, replicate=0) == chosen


def test_volume_samplers_contradict_only_what_converged(tmp_path):
    study = two_references(tmp_path, {"converged": False}, {"log_volume": -22.0})
    here = {"n": 10, "replicate": 0, "sampler": "population_annealing"}
    assert cell(study, "converged", **here) == 1
    assert cell(study, "verdict", **here) == "fine"
