"""Deliberately broken versions of the sampler must be caught by the comparison that trusts it.

The comparison is one with enumeration on problems that take several windows; the sound version
passes it, and each of the broken ones fails it.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import test_chains
from enumeration import random_problem

from volumetry.chains import cpu, rounds, window_binary
from volumetry.estimate import production
from volumetry.methods import enumeration, rewl
from volumetry.methods.enumeration import Parameters as EnumerateParameters
from volumetry.methods.rewl import Parameters as RewlParameters
from volumetry.weights.binary import BinaryWeights

# 16 weights; several windows, more moves than the errors need.
PROBLEMS = (6, 3)
PARAMETERS = RewlParameters(window_cost=8, block_sweeps=60, min_blocks=60, max_blocks=60)
LARGEST_Z = 5

MUTATIONS = {
    "a mixture of moves that depends on the level": (
        "kind = draw_kind(seed, stream(KINDS, place), step, until)\n",
        "kind = level % until.size\n",
    ),
    "Metropolis with the inverse ratio": (
        "change = log_weight[proposed] - log_weight[level]",
        "change = log_weight[level] - log_weight[proposed]\n"
        "            change = change if log_weight[proposed] > -1e300 else -1e300",
    ),
    "no re-count at rejected moves": (
        "        visits[level] += 1\n",
        "        if accept:\n            visits[level] += 1\n",
    ),
    "a window bound off by one": (
        "    least = windows.low[w]\n",
        "    least = windows.low[w] + 1\n",
    ),
}
EXCHANGE = (
    "if change >= 0 or log_u < change:\n        walkers.replica",
    "if abs(change) < 1e300:\n        walkers.replica",
)


def largest_z(least_windows=1):
    """Largest |z| of ln g over the problems; a broken sampler may end with a single window."""
    z = []
    for number in PROBLEMS:
        problem = random_problem(number)
        exact = enumeration.run(problem, EnumerateParameters())
        estimate = rewl.run(problem, PARAMETERS, 7 + number)
        assert estimate.sizes["window"] >= least_windows
        seen = np.isfinite(exact.log_g.values)
        difference = (estimate.log_g - exact.log_g).values[seen]
        z.extend(difference / estimate.log_g_stderr.values[seen])
    return np.nanmax(np.abs(z))


def break_chains(monkeypatch, old, new):
    """Let the chains on the CPU have ``new`` in the place of ``old``."""
    texts = [Path(part.__file__).read_text(encoding="utf-8") for part in (rounds, window_binary)]
    assert sum(text.count(old) for text in texts) == 1
    texts = [text.replace(old, new) for text in texts]
    name = f"broken_{hashlib.sha256(''.join(texts).encode()).hexdigest()[:16]}"
    broken = load(f"{name}_rounds", texts[0])
    import_of_rounds = f"from {rounds.__name__} import"
    assert import_of_rounds in texts[1]
    window = load(name, texts[1].replace(import_of_rounds, f"from {broken.__name__} import"))
    for kernel in ("observe", "relax_members", "run_rounds"):
        monkeypatch.setattr(cpu, kernel, getattr(broken, kernel))
    monkeypatch.setitem(cpu._OF_SPACE, BinaryWeights, window)


def load(name, text):
    """A module, kept where its compiled code is, so that the next run of the tests finds both."""
    path = Path(numba.config.CACHE_DIR) / f"{name}.py"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sound_version_passes():
    assert largest_z(least_windows=2) < LARGEST_Z


@pytest.mark.parametrize(
    "name",
    # Each compiles a kernel of its own.
    [pytest.param(name, marks=[pytest.mark.slow] * (k > 1)) for k, name in enumerate(MUTATIONS)],
)
def test_a_broken_chain_is_caught(name, monkeypatch):
    break_chains(monkeypatch, *MUTATIONS[name])
    z = largest_z()
    print(f"{name}: largest |z| {z:.1f}")
    assert z > LARGEST_Z


@pytest.mark.slow
def test_exchange_without_its_acceptance_test_is_caught(monkeypatch):
    """Between windows of unlike weights: where both are flat, every exchange is accepted anyway."""
    tiny = test_chains.Tiny("perceptron")
    test_chains.test_exchanges_keep_windows_and_their_distributions(tiny, None)
    break_chains(monkeypatch, *EXCHANGE)
    with pytest.raises(AssertionError):
        test_chains.test_exchanges_keep_windows_and_their_distributions(tiny, None)


def test_stitching_without_normalisation_is_caught(monkeypatch):
    def unnormalised(counts, log_weight, free_energy=None):
        """Adds up histogram over weight of every window as if all had the same normalisation."""
        with np.errstate(divide="ignore"):
            log_p = np.log((counts * np.exp(-np.where(counts > 0, log_weight, 0))).sum(axis=0))
        return log_p - np.logaddexp.reduce(log_p), np.zeros(len(counts))

    monkeypatch.setattr(production, "multi_histogram", unnormalised)
    assert largest_z() > LARGEST_Z
