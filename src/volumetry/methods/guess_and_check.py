"""Guess & Check: independent draws of all weights until some fit the training set.

The method of Chiang et al. (ICLR 2023) and Peleg & Hein (ICML 2024). A guess is dropped at its
first wrong example; every guess counts. Guesses of real weights stand in ``guess_real``; those of
binary ones, here, are exact.

The weights of such a guess are bits of random words, and are never written out: a bit masks the
addition of an input, for 32 units at once. A first convolution of one channel has only 512 kernels,
so its maps of the examples that every guess meets first are made in advance.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple

import numpy as np
import xarray as xr

from volumetry.engines.layout import (
    layer_tables,
    sum_dtype,
)
from volumetry.engines.real import drawn_weights
from volumetry.estimate.confidence import LEAST_HITS, clopper_pearson
from volumetry.kernels.jit import borrowed, inlined, jit
from volumetry.kernels.philox import fill_words
from volumetry.kernels.simd import LANES, item, maximum, splat, store, where_bit
from volumetry.kernels.streams import GUESSES, stream
from volumetry.methods.guess_real import RealChecker
from volumetry.methods.guess_sensing import SensingChecker
from volumetry.methods.result import common_result, scored
from volumetry.networks import Network
from volumetry.networks.forward import pool_inputs
from volumetry.networks.real import RealNetwork
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Arrays, Checkpoint
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Problem
from volumetry.systems.sensing import SensingProblem

_CHUNK = 4096
_MAPPED = 8  # examples whose maps are made in advance; few guesses get further
_KERNELS = 512


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler."""

    hits: int = parameter(
        100,
        minimum=1,
        unit="hits",
        stops=True,
        about="Fits after which it stops; fewer than 10 make no converged log-volume.",
    )
    max_guesses: int = parameter(
        1_000_000, minimum=1, unit="guesses", stops=True, about="Guesses after which it gives up."
    )


def run(
    problem: Problem | SensingProblem,
    parameters: Parameters,
    seed: int,
    *,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Draw until ``hits`` fits are found or ``max_guesses`` draws are made.

    Args:
        problem: examples are checked in the order given.
        seed: 64-bit seed; guess number g is a function of the seed and g alone.
        threads: chunks of guesses that run at a time; the result does not depend on it.
        checkpoint: of an earlier process; the result does not depend on it.

    Returns:
        The common scalars; ``hits``; and over ``hit`` the test accuracy, or loss, of each fit.
        ``log_volume`` is ln(hits / guesses), its error that of a binomial fraction, and converged
        from ``LEAST_HITS`` hits on. Without a hit the volume is censored: ``log_volume_upper`` is
        the upper end of its Clopper-Pearson interval, about ln(3.69 / guesses).
        ``stopped_at_hit`` says which of the two ended the search.
    """
    guesses, hits = search(problem, parameters, seed, threads, checkpoint)
    network, name = problem.network, problem.system.score_name
    scores = np.array([problem.score(guessed_weights(network, seed, guess)) for guess in hits])
    count = len(hits)
    verdict = f"{count} hit{'s' * (count != 1)} in {guesses} guesses"
    if count == 0:
        verdict = f"censored: no hit in {guesses} guesses"
    elif count < LEAST_HITS:
        verdict = f"not converged: {verdict}, fewer than the {LEAST_HITS} that a log-volume takes"
    result = common_result(
        **scored(
            name,
            scores.mean() if count else np.nan,
            scores.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan,
            count - 1,
        ),
        log_volume=np.log(count / guesses) if count else np.nan,
        log_volume_stderr=np.sqrt((1 - count / guesses) / count) if count else np.nan,
        log_volume_upper=np.nan if count else np.log(clopper_pearson(0, guesses)[1]),
        converged=count >= LEAST_HITS,
        verdict=verdict,
        guesses=guesses,
    )
    result["hits"] = ((), np.int64(count), {"long_name": "guesses that fit", "units": "1"})
    about = "1 if the search ended with the last hit wanted, 0 with its budget of guesses"
    ended = np.int8(count == parameters.hits)
    result["stopped_at_hit"] = ((), ended, {"long_name": about, "units": "1"})
    result[f"hit_{name}"] = (
        "hit",
        scores,
        {"long_name": f"{name.replace('_', ' ')} of each fit", "units": "1"},
    )
    return result


def search(
    problem: Problem | SensingProblem,
    parameters: Parameters,
    seed: int,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
) -> tuple[int, list[int]]:
    """The search of ``run``: how many guesses were made, and which of them fit, ascending."""
    if isinstance(problem, SensingProblem):
        checker = SensingChecker(problem)
    else:
        kind = RealChecker if isinstance(problem.network, RealNetwork) else Checker
        checker = kind(problem.network, problem.x_train, problem.y_train)

    def check(first):
        return checker.check(seed, first, min(first + _CHUNK, parameters.max_guesses))

    progress = Progress("guess and check", "guesses")
    checkpoint = checkpoint or Checkpoint()
    hits: list[int] = checkpoint.state.get("hits", np.empty(0)).tolist()
    guesses = int(checkpoint.state.get("guesses", 0))
    with ThreadPoolExecutor(threads) as pool:
        while guesses < parameters.max_guesses and len(hits) < parameters.hits:
            starts = range(guesses, parameters.max_guesses, _CHUNK)[:threads]
            for found in pool.map(check, starts):
                hits.extend(found.tolist())
            guesses = min(starts[-1] + _CHUNK, parameters.max_guesses)
            progress.update(guesses, parameters.max_guesses, f"{len(hits)} hits")
            if checkpoint.due():
                checkpoint.keep(_state(guesses, hits))
    checkpoint.state = _state(guesses, hits)
    # An earlier process may have been asked for more.
    guesses = min(guesses, parameters.max_guesses)
    hits = [guess for guess in hits if guess < guesses]
    if len(hits) >= parameters.hits:
        hits = hits[: parameters.hits]
        guesses = hits[-1] + 1
    return guesses, hits


def _state(guesses: int, hits: list[int]) -> Arrays:
    return {"guesses": np.int64(guesses), "hits": np.array(hits, np.int64)}


@singledispatch
def guessed_weights(network: Network, seed: int, guess: int) -> np.ndarray:
    """Weights of a guess: int8, shape (n_weights,), each -1 or +1.

    The words of a guess are shared out to rows of weights, whole words to each: the kernels of the
    stages (one for each channel), then the weights of each input of the linear layers. A row takes
    the lowest bits of its words; a set bit is +1.
    """
    widths = _row_widths(network)
    words = np.empty((4, -(-sum(n * -(-width // 32) for n, width in widths) // 4)), np.uint32)
    _draw(np.uint64(seed), guess, words)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(-1, 32)
    parts, start = [], 0
    for rows, width in widths:
        stop = start + rows * -(-width // 32)
        parts.append(bits[start:stop].reshape(rows, -1)[:, :width].ravel())
        start = stop
    return (2 * np.concatenate(parts).astype(np.int8) - 1).astype(np.int8)


@guessed_weights.register
def _(network: RealNetwork, seed: int, guess: int) -> np.ndarray:
    return drawn_weights(network.space, np.uint64(seed), stream(GUESSES, 0), guess)


def _row_widths(network: Network) -> list[tuple[int, int]]:
    """Rows and weights of a row, for each layer."""
    stages = [(stage.channels, 9 * stage.shape_in[0]) for stage in network.stages]
    return stages + [(layer.inputs, layer.outputs) for layer in network.linears]


class _Sheet(NamedTuple):
    """What guesses are checked against.

    Attributes:
        stages, linears: as in ``layout.Plan``.
        first_word, row_words: int64 (layers): where a layer's words start, and words of a row.
        x: (n, features).
        maps: (examples, kernels, pixels): the first stage's maps of the first examples, for each
            kernel; the examples may be none.
        y: int64 (n).
    """

    stages: np.ndarray
    linears: np.ndarray
    first_word: np.ndarray
    row_words: np.ndarray
    x: np.ndarray
    maps: np.ndarray
    y: np.ndarray


class Checker:
    """A network and its training set, laid out for checking guesses."""

    def __init__(self, network: Network, x: np.ndarray, y: np.ndarray):
        """Take examples x (n, *input_shape) with labels y (n,)."""
        stages, linears = layer_tables(network)
        kind = sum_dtype(network)
        flat = np.ascontiguousarray(pool_inputs(network, x).reshape(len(x), -1).astype(kind))
        widths = _row_widths(network)
        row_words = np.array([-(-width // 32) for _, width in widths])
        first_word = np.concatenate([[0], np.cumsum([n for n, _ in widths] * row_words)])
        self._blocks = -(-int(first_word[-1]) // 4)
        self._room = max(
            [flat.shape[1]]
            + [stage.channels * stage.shape_in[1] * stage.shape_in[2] for stage in network.stages]
            + [-(-layer.outputs // LANES) * LANES for layer in network.linears]
        )
        examples = pixels = 0
        if network.stages and network.stages[0].shape_in[0] == 1:
            pixels = int(np.prod(network.stages[0].shape_out[1:]))
            examples = min(len(x), _MAPPED)
        maps = np.zeros((examples, _KERNELS, pixels), kind)
        self._sheet = _Sheet(
            stages, linears, first_word, row_words, flat, maps, np.asarray(y, np.int64)
        )
        if examples:
            _fill_maps(self._sheet, np.empty(self._room, kind))

    def check(self, seed: int, first: int, stop: int) -> np.ndarray:
        """Those of the guesses first..stop - 1 that fit all examples, ascending."""
        words = np.empty((4, self._blocks), np.uint32)
        values = np.zeros((2, self._room), self._sheet.x.dtype)
        found = np.empty(stop - first, np.int64)
        return found[: _check(self._sheet, words, values, np.uint64(seed), first, stop, found)]


@jit
def _draw(seed, guess, words):
    fill_words(seed, stream(GUESSES, 0), guess, words)


@jit
def _fill_maps(sheet, room):
    """The first stage's maps for every kernel."""
    for e in range(sheet.maps.shape[0]):
        for kernel in range(sheet.maps.shape[1]):
            _add_plane(sheet.stages[0], kernel, 0, sheet.x[e], room)
            _pool(sheet.stages[0], room, sheet.maps[e, kernel])


@jit
def _check(sheet, words, values, seed, first, stop, found):
    """List those of the guesses first..stop - 1 that fit in ``found``; returns how many."""
    room = np.empty(values.shape[1], values.dtype)
    flat = words.reshape(-1)
    n = sheet.y.size
    count = 0
    for guess in range(first, stop):
        fill_words(seed, stream(GUESSES, 0), guess, words)
        e = 0
        while e < n and _is_right(sheet, flat, values, room, e):
            e += 1
        if e == n:
            found[count] = guess
            count += 1
    return count


@jit
def _is_right(sheet, words, values, room, e):
    """Whether a guess classifies an example correctly.

    ``values`` holds two layers, turn and turn about; ``room`` the sums of a convolution.
    """
    values, words, linears = borrowed(values), borrowed(words), borrowed(sheet.linears)
    side, layers = 0, sheet.stages.shape[0]
    if layers == 0 or sheet.maps.shape[0] <= e:
        for i in range(sheet.x.shape[1]):
            values[0, i] = sheet.x[e, i]
    for s in range(layers):
        _apply_stage(sheet, words, values, room, e, s, side)
        side = 1 - side
    last = linears.shape[0] - 1
    for layer in range(last + 1):
        every = values.dtype.type(0)
        for i in range(linears[layer].inputs):
            every += values[side, i]
        first_word, per_row = sheet.first_word[layers + layer], sheet.row_words[layers + layer]
        for part in range(per_row):
            # The inputs with weight +1 count twice, less all inputs once.
            some = splat(values, 0)
            word = first_word + part
            for i in range(linears[layer].inputs):
                value = splat(values, item(values, (side, i)))
                some = where_bit(item(words, (word,)), some + value, some)
                word += per_row
            total = some + some - splat(values, every)
            if layer < last:
                total = maximum(total, splat(values, 0))
            store(values, (1 - side, part * LANES), total)
        side = 1 - side
    own = sheet.y[e]
    for k in range(linears[last].outputs):
        # Ties go to the lower class.
        if values[side, k] > values[side, own] or (
            k < own and values[side, k] == values[side, own]
        ):
            return False
    return True


@inlined
def _apply_stage(sheet, words, values, room, e, s, side):
    """Maps of a stage, from ``values[side]`` to the other side."""
    stage = sheet.stages[s]
    size, pixels = stage.h_in * stage.w_in, stage.h_out * stage.w_out
    for channel in range(stage.c_out):
        word = sheet.first_word[s] + channel * sheet.row_words[s]
        out = values[1 - side, channel * pixels : (channel + 1) * pixels]
        if s == 0 and e < sheet.maps.shape[0]:
            known = sheet.maps[e, item(words, (word,)) & (_KERNELS - 1)]
            for i in range(pixels):
                out[i] = known[i]
            continue
        for c in range(stage.c_in):
            at, shift = word + 9 * c // 32, 9 * c % 32
            kernel = item(words, (at,)) >> shift
            if shift > 32 - 9:
                kernel |= item(words, (at + 1,)) << (32 - shift)
            _add_plane(stage, kernel, c, values[side, c * size : (c + 1) * size], room)
        _pool(stage, room, out)


@inlined
def _add_plane(stage, kernel, c, plane, room):
    """Add input channel ``c``, convolved with a kernel of nine bits, to the sums in ``room``."""
    height, width = stage.h_in, stage.w_in
    if c == 0:
        room[: height * width] = 0
    for tap in range(9):
        dy, dx = tap // 3 - 1, tap % 3 - 1
        sign = plane.dtype.type(2 * (kernel >> tap & 1) - 1)
        for y in range(max(0, -dy), min(height, height - dy)):
            row = y * width
            source = row + dy * width + dx
            for z in range(max(0, -dx), min(width, width - dx)):
                room[row + z] += sign * plane[source + z]


@inlined
def _pool(stage, room, out):
    """Pooling and ReLU of the sums in ``room``."""
    block = 1 << stage.pools
    for y in range(stage.h_out):
        for z in range(stage.w_out):
            best = out.dtype.type(0)
            for offset in range(block * block):
                row = y * block + offset // block
                best = max(best, room[row * stage.w_in + z * block + offset % block])
            out[y * stage.w_out + z] = best
