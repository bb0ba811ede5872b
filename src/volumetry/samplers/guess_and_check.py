"""Guess & Check: independent uniform draws of all weights until some fit the training set.

The method of Chiang et al. (ICLR 2023) and Peleg & Hein (ICML 2024), on binary weights and exact.
A guess is dropped at its first wrong example; every guess counts.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr

from volumetry.jit import inlined, jit
from volumetry.networks.engine import POOLS, layer_tables, sum_dtype
from volumetry.networks.forward import count_correct, pool_inputs
from volumetry.philox import draw_weights, fill_signs
from volumetry.progress import Progress
from volumetry.samplers.problem import Problem, common_result

_CHUNK = 1024


@dataclass(frozen=True)
class GuessAndCheckParameters:
    """Parameters of the sampler.

    Attributes:
        hits: fits after which it stops.
        max_guesses: guesses after which it gives up.
    """

    hits: int = 100
    max_guesses: int = 1_000_000


PARAMETERS = {"guess_and_check": GuessAndCheckParameters}


def run(
    problem: Problem, parameters: GuessAndCheckParameters, seed: int, *, threads: int = 1
) -> xr.Dataset:
    """Draw until ``hits`` fits are found or ``max_guesses`` draws are made.

    Args:
        problem: examples are checked in the order given.
        seed: 64-bit seed; guess number g is a function of the seed and g alone.
        threads: chunks of guesses that run at a time; the result does not depend on it.

    Returns:
        The common scalars; ``hits``; and over ``hit`` the test accuracy of each fit.
        ``log_volume`` is ln(hits / guesses), its error that of a binomial fraction. Without a hit
        the volume is censored: ``log_volume_upper`` is ln(3 / guesses), the 95 % limit.
    """
    network = problem.network
    kind = sum_dtype(network)
    stages, linears = layer_tables(network)
    x = pool_inputs(network, problem.x_train).astype(kind)
    x = np.ascontiguousarray(x.reshape(len(x), -1))
    y = np.ascontiguousarray(problem.y_train, dtype=np.int64)
    room = max(
        [x.shape[1]]
        + [int(np.prod((stage.channels, *stage.shape_in[1:]))) for stage in network.stages]
        + [layer.outputs for layer in network.linears]
    )

    def check(first):
        weights = np.empty(network.n_weights, np.int8)
        values = np.empty((2, room), kind)
        found = np.empty(_CHUNK, np.int64)
        stop = min(first + _CHUNK, parameters.max_guesses)
        count = _check(stages, linears, x, y, weights, values, np.uint64(seed), first, stop, found)
        return found[:count]

    progress = Progress("guess and check", "guesses")
    hits: list[int] = []
    guesses = 0
    with ThreadPoolExecutor(threads) as pool:
        while guesses < parameters.max_guesses and len(hits) < parameters.hits:
            starts = range(guesses, parameters.max_guesses, _CHUNK)[:threads]
            for found in pool.map(check, starts):
                hits.extend(found.tolist())
            guesses = min(starts[-1] + _CHUNK, parameters.max_guesses)
            progress.update(guesses, parameters.max_guesses, f"{len(hits)} hits")
    if len(hits) >= parameters.hits:
        hits = hits[: parameters.hits]
        guesses = hits[-1] + 1

    accuracy = np.array([_test_accuracy(problem, seed, guess) for guess in hits])
    count = len(hits)
    verdict = f"{count} hits in {guesses} guesses"
    if count == 0:
        verdict = f"censored: no hit in {guesses} guesses"
    result = common_result(
        test_accuracy=accuracy.mean() if count else np.nan,
        test_accuracy_stderr=accuracy.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan,
        log_volume=np.log(count / guesses) if count else np.nan,
        log_volume_stderr=np.sqrt((1 - count / guesses) / count) if count else np.nan,
        log_volume_upper=np.nan if count else np.log(3 / guesses),
        converged=count > 0,
        verdict=verdict,
        guesses=guesses,
    )
    result["hits"] = ((), np.int64(count), {"long_name": "guesses that fit", "units": "1"})
    result["hit_test_accuracy"] = (
        "hit",
        accuracy,
        {"long_name": "test accuracy of each fit", "units": "1"},
    )
    return result


def _test_accuracy(problem: Problem, seed: int, guess: int) -> float:
    weights = np.empty(problem.network.n_weights, np.int8)
    draw_weights(np.uint64(seed), 0, guess, weights)
    hits = count_correct(problem.network, weights, problem.x_test, problem.y_test)
    return hits / len(problem.y_test)


@jit
def _check(stages, linears, x, y, weights, values, seed, first, stop, found):
    """Check guesses first..stop-1; lists those that fit in ``found`` and returns how many."""
    count = 0
    for guess in range(first, stop):
        fill_signs(seed, 0, guess, weights)
        fits = True
        for e in range(x.shape[0]):
            if _classify(stages, linears, x, e, weights, values) != y[e]:
                fits = False
                break
        if fits:
            found[count] = guess
            count += 1
    return count


@inlined
def _classify(stages, linears, x, e, weights, values):
    """Predicted class of one example; ``values`` holds the layers in turn, on two sides."""
    for i in range(x.shape[1]):
        values[0, i] = x[e, i]
    side = 0
    weight = 0
    for s in range(stages.shape[0]):
        weight = _apply_stage(stages[s], weights, weight, values[side], values[1 - side])
        side = 1 - side
    last = linears.shape[0] - 1
    for layer in range(last + 1):
        inputs, outputs = linears[layer, 0], linears[layer, 1]
        source, target = values[side], values[1 - side]
        for k in range(outputs):
            target[k] = 0
        for i in range(inputs):
            value = source[i]
            if value != 0:
                row = weights[weight + i * outputs : weight + (i + 1) * outputs]
                for k in range(outputs):
                    target[k] += value * row[k]
        if layer < last:
            for k in range(outputs):
                target[k] = max(target[k], target.dtype.type(0))
        weight += inputs * outputs
        side = 1 - side
    best = 0
    for k in range(1, linears[last, 1]):
        if values[side, k] > values[side, best]:
            best = k
    return best


@inlined
def _apply_stage(stage, weights, weight, source, target):
    """Convolution, ReLU and pooling of one image; returns the offset of the next weights."""
    c_in, height, width, c_out, h_out, w_out = (
        stage[0],
        stage[1],
        stage[2],
        stage[3],
        stage[4],
        stage[5],
    )
    block = 1 << stage[POOLS]
    for channel in range(c_out):
        for position in range(h_out * w_out):
            top, left = (position // w_out) * block, (position % w_out) * block
            best = target.dtype.type(0)
            for offset in range(block * block):
                y, z = top + offset // block, left + offset % block
                total = target.dtype.type(0)
                for c in range(c_in):
                    for dy in range(max(0, 1 - y), min(3, height + 1 - y)):
                        for dx in range(max(0, 1 - z), min(3, width + 1 - z)):
                            w = weights[weight + (channel * c_in + c) * 9 + dy * 3 + dx]
                            total += w * source[(c * height + y + dy - 1) * width + z + dx - 1]
                best = max(best, total)
            target[channel * h_out * w_out + position] = best
    return weight + c_out * c_in * 9
