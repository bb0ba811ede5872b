"""Guesses a second of Guess & Check and of batches in torch, on all cores."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from volumetry.benchmark.baseline import GuessInBatches, on_threads
from volumetry.benchmark.clock import fastest, rates
from volumetry.benchmark.design import Design
from volumetry.benchmark.synthetic import make_examples, make_network
from volumetry.methods.guess_and_check import Parameters, search
from volumetry.networks import Network
from volumetry.systems.classification import Problem

PRESET = "simple_cnn"
_UNIT = 1024
_NEVER = 10**12


def measure(design: Design, threads: int) -> xr.Dataset:
    """Guesses a second over (side, classes, guess_n), of the sampler and of the baseline."""
    shape = len(design.sides), len(design.classes), len(design.guess_n)
    ours, plain = np.empty((2, *shape, design.repetitions))
    batches = np.empty(shape, np.int64)
    for s, side in enumerate(design.sides):
        for c, classes in enumerate(design.classes):
            network = make_network(PRESET, side, classes)
            x, y = make_examples(max(design.guess_n), side, classes)
            for i, n in enumerate(design.guess_n):
                place = s, c, i
                train = x[:n], y[:n]
                batches[place], baseline = _baseline(network, train, design, threads)
                works = [_sampler(network, train, threads), baseline]
                found = rates(works, design.seconds, design.repetitions)
                ours[place] = _UNIT * threads * found[0]
                plain[place] = batches[place] * found[1]
                print(f"{side}x{side}, {classes} classes, n = {n}: {np.median(ours[place]):,.0f}/s")
    dims = "side", "classes", "guess_n"
    speedup = np.median(ours, -1) / np.median(plain, -1)
    return xr.Dataset(
        {
            "guesses_per_second": (
                (*dims, "repetition"),
                ours,
                {"long_name": "guesses of guess_and_check on all cores", "units": "s-1"},
            ),
            "baseline_guesses_per_second": (
                (*dims, "repetition"),
                plain,
                {"long_name": "guesses of batches in torch on all cores", "units": "s-1"},
            ),
            "baseline_batch": (
                dims,
                batches,
                {"long_name": "weight settings in a batch, the fastest", "units": "1"},
            ),
            "guess_speedup": (
                dims,
                speedup,
                {"long_name": "guesses a second, sampler over baseline (medians)", "units": "1"},
            ),
        },
        {
            "side": ("side", list(design.sides), {"long_name": "height and width", "units": "1"}),
            "classes": ("classes", list(design.classes), {"long_name": "classes", "units": "1"}),
            "guess_n": (
                "guess_n",
                list(design.guess_n),
                {"long_name": "training examples of Guess & Check", "units": "1"},
            ),
        },
    )


def _sampler(network: Network, train, threads: int) -> Callable[[int], None]:
    """The sampler's search: a unit of work is ``_UNIT`` guesses a thread."""
    problem = Problem(network, *train, *train, *train)

    def work(count: int) -> None:
        guesses = count * _UNIT * threads
        search(problem, Parameters(_NEVER, guesses), 0, threads)

    return work


def _baseline(
    network: Network, train, design: Design, threads: int
) -> tuple[int, Callable[[int], None]]:
    """The fastest batch size, by seconds a guess, and the baseline; a unit of work is a batch.

    On one thread or on all, whichever is faster: the arrays of a small batch are not worth sharing.
    """
    most = max(design.guess_batches)
    options = {
        (batch, count): on_threads(count, GuessInBatches(network, *train, batch=batch).guess)
        for batch in design.guess_batches
        for count in {1, threads}
    }
    best = fastest({key: lambda k=key, w=work: w(most // k[0]) for key, work in options.items()})
    return best[0], options[best]
