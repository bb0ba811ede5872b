"""Memory: estimated before a job starts, refused before it is allocated."""

import subprocess
import sys

import pytest

from volumetry.engines.layout import make_states
from volumetry.engines.memory import state_bytes
from volumetry.networks import build_network
from volumetry.runtime import memory
from volumetry.study.registry import METHODS

NETWORKS = [
    (("conv 6", "pool", "linear 64"), (1, 28, 28), 10, 222),
    (("conv 4", "pool", "conv 8", "pool", "linear 16"), (1, 12, 12), 3, 255),
    (("linear 32", "linear 16"), (40,), 2, 100_000),
    ((), (64,), 10, 16),
]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("n", [1, 30, 600, 10_000])
def test_the_estimate_of_a_walker_is_what_it_takes_or_a_little_more(network, n):
    network = build_network(*network)
    taken = sum(array.nbytes for array in make_states(network, n, 1))
    estimate = state_bytes(network, n)
    assert taken <= estimate + 4096
    assert estimate <= 1.3 * taken + 100 * len(network.linears) * 4096


def test_what_is_free_is_at_most_what_the_process_is_allowed():
    code = (
        "import resource; from volumetry.runtime import memory; before = memory.available();"
        "resource.setrlimit(resource.RLIMIT_AS, (400_000_000,) * 2);"
        "after = memory.available(); print(before > after, 0 < after < 400_000_000)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "True True\n"


def test_too_much_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 3_000_000_000)
    memory.require(2_999_999_999, "this", "that")
    with pytest.raises(
        memory.MemoryShortage,
        match=r"12 walkers would take 3\.5 GB .* 3\.0 GB are free: lower them",
    ):
        memory.require(3_500_000_000, "12 walkers", "lower them")


def test_more_of_anything_is_never_estimated_lower():
    network = build_network(*NETWORKS[0])
    rewl = {"walkers": 4, "window_cost": 40.0}

    def estimate(n=600, n_test=10_000, sampler="rewl", **parameters):
        return METHODS[sampler].memory(network, n, n_test, rewl | parameters)

    assert estimate() < estimate(n=2400) < estimate(n=2400, walkers=64)
    members = {"populations": 4, "members": 100, "doublings": 3, "max_anneals": 16, "bins": 100}
    annealed, tilted = (
        estimate(sampler=name, **members) for name in ("population_annealing", "joint")
    )
    assert annealed < tilted < estimate(sampler="joint", **members | {"members": 1000})
    assert estimate(sampler="gd", networks=5) < estimate(sampler="gd", networks=500)
