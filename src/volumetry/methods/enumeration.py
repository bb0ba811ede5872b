"""Exhaustive enumeration: every weight setting once, so every number is exact.

The settings are walked in the order of the binary-reflected Gray code (Knuth, TAOCP 4A, 7.2.1.1),
in which each differs from the one before by a single weight; that is a move of the incremental
engine. The weights of the last layer, the cheapest to flip, change most often.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr

from volumetry.engines.evaluator import commit, evaluate, find_channels, initialise
from volumetry.engines.layout import (
    borrow,
    make_move,
    make_plan,
    make_scratch,
    make_states,
    state_of,
)
from volumetry.kernels.jit import borrowed, jit
from volumetry.methods.costs import check_enumerable
from volumetry.methods.result import common_result
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.netcdf import described as over
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Problem
from volumetry.weights.flips import flip

_WALK_WEIGHTS = 14


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler."""

    max_weights: int = parameter(
        24,
        minimum=1,
        maximum=40,
        unit="weights",
        about="Networks with more weights are refused; each more doubles the time.",
    )


def run(
    problem: Problem,
    parameters: Parameters,
    seed: int = 0,
    *,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Exact density of states g(A, Q) of a small network.

    Args:
        seed: has no influence.
        threads: parts of the walk that run at a time.
        checkpoint: of an earlier process.

    Returns:
        The common scalars, with errors of zero; over ``A`` (0..n) ``log_g`` and
        ``accuracy_given_A``; over ``A`` and ``test_correct`` (0..N) ``log_g_joint``. If nothing
        fits, the log-volume and the accuracy are NaN and the verdict says so.

    Raises:
        NetworkError: more weights than ``max_weights``.
    """
    network = problem.network
    check_enumerable(network, asdict(parameters))
    plans = [
        make_plan(network, problem.x_train, problem.y_train),
        make_plan(network, problem.x_test, problem.y_test),
    ]
    n, n_test = len(problem.y_train), len(problem.y_test)
    walked = min(network.n_weights, _WALK_WEIGHTS)
    parts = 1 << (network.n_weights - walked)

    def walk(part):
        weights = np.full(network.n_weights, -1, np.int8)
        weights[: network.n_weights - walked] += 2 * (
            part >> np.arange(network.n_weights - walked) & 1
        ).astype(np.int8)
        counts = np.zeros((n + 1, n_test + 1), np.int64)
        parts = [
            (plan, state_of.py_func(make_states(network, size, 1), 0), make_scratch(network, 1))
            for plan, size in zip(plans, (n, n_test))
        ]
        _walk(*parts, make_move(network, 1), weights, walked, counts)
        return counts

    progress = Progress("enumerate", "parts")
    checkpoint = checkpoint or Checkpoint()
    counts = checkpoint.state.get("counts", np.zeros((n + 1, n_test + 1), np.int64))
    done = int(checkpoint.state.get("done", 0))
    with ThreadPoolExecutor(threads) as pool:
        while done < parts:
            some = range(done, min(done + threads, parts))
            counts = counts + sum(pool.map(walk, some))
            done = some.stop
            progress.update(done, parts)
            if checkpoint.due():
                checkpoint.keep({"counts": counts, "done": np.int64(done)})
    return _result(counts, network.n_weights)


@jit
def _walk(train, test, move, weights, walked, counts):
    """Count (A, correct test examples) over all settings of the last ``walked`` weights."""
    plan, state, scratch = train
    test_plan, test_state, test_scratch = test
    correct = initialise(plan, state, move, weights, scratch)
    hits = initialise(test_plan, test_state, move, weights, test_scratch)
    plan, state, move, scratch = borrow(plan, state, move, scratch)
    test_plan, test_state, move, test_scratch = borrow(test_plan, test_state, move, test_scratch)
    weights, counts = borrowed(weights), borrowed(counts)
    counts[correct, hits] += 1
    for step in range(1, 1 << walked):
        bit = 0
        while not step >> bit & 1:
            bit += 1
        move.flips[0] = weights.size - 1 - bit
        find_channels(plan, move)
        flip(weights, move.flips)
        correct = evaluate(plan, state, move, weights, scratch, 0)
        commit(plan, state, move, scratch)
        hits = evaluate(test_plan, test_state, move, weights, test_scratch, 0)
        commit(test_plan, test_state, move, test_scratch)
        counts[correct, hits] += 1


def _result(counts: np.ndarray, n_weights: int) -> xr.Dataset:
    n, n_test = counts.shape[0] - 1, counts.shape[1] - 1
    total = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_g, log_g_joint = np.log(total), np.log(counts)
        accuracy = counts @ np.arange(n_test + 1) / total / n_test
    fits = total[n] > 0
    verdict = f"exact: {total[n]} of 2^{n_weights} weight settings fit"
    result = common_result(
        test_accuracy=accuracy[n],
        test_accuracy_stderr=0.0 if fits else np.nan,
        log_volume=log_g[n] - n_weights * np.log(2) if fits else np.nan,
        log_volume_stderr=0.0 if fits else np.nan,
        converged=True,
        verdict=verdict,
        moves=int(total.sum()),
    )

    return result.assign_coords(
        A=over("A", np.arange(n + 1), "training examples classified correctly"),
        test_correct=over(
            "test_correct", np.arange(n_test + 1), "test examples classified correctly"
        ),
    ).assign(
        log_g=over("A", log_g, "ln density of states", "nat"),
        accuracy_given_A=over("A", accuracy, "mean test accuracy at A"),
        log_g_joint=over(
            ("A", "test_correct"), log_g_joint, "ln joint density of states g(A, Q)", "nat"
        ),
    )
