"""Replica-exchange Wang-Landau sampling of the number of correct training examples A.

Stages: uniform *bulk* draws; an *exploratory* canonical pass with weights exp(beta A) that finds a
first ln g(A) and states everywhere; Wang-Landau *learning* in overlapping windows (Wang & Landau
2001, doi:10.1103/PhysRevLett.86.2050; the 1/t rule of Belardinelli & Pereyra 2007,
doi:10.1103/PhysRevE.75.046701; replica exchange of Vogel et al. 2013,
doi:10.1103/PhysRevLett.110.210603); and *production* with frozen weights, from which every
estimate comes.

Several independent walker sets do all this side by side, each with one walker in every window;
replicas are exchanged only inside a set.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from volumetry.chains.cpu import Levels, Windows
from volumetry.estimate.production import GROUPS, Production, Uniform
from volumetry.methods.flat_histogram import ROUNDS_A_SWEEP, FlatHistogram, Ladder
from volumetry.methods.result import common_result
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Problem
from volumetry.weights.binary import pack_weights, unpack_weights


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler.

    A *sweep* is n_weights / flips moves of one walker, at least 300.
    """

    flips: int = parameter(
        3,
        minimum=1,
        odd=True,
        unit="weights",
        about="Weights flipped by a move; odd, because an even number never changes the parity of "
        "the number of weights -1.",
    )
    walkers: int = parameter(
        4,
        minimum=2,
        maximum=100_000,
        unit="walkers",
        about="Independent walkers in each window.",
    )
    bulk_draws: int = parameter(
        2000,
        minimum=1,
        unit="draws",
        about="Uniform draws that normalise the density of states.",
    )
    rung_sweeps: float = parameter(
        20.0,
        above=0,
        unit="sweeps",
        about="Length of the exploratory pass at each temperature; a sweep is n_weights / flips "
        "moves of one walker, at least 300.",
    )
    window_cost: float = parameter(
        40.0,
        minimum=1,
        unit="bins plus nats",
        about="Size of a window; smaller means more windows.",
    )
    flatness: float = parameter(
        0.8,
        above=0,
        below=1,
        unit="fraction",
        about="Least visits over mean visits of a window before ln f is halved.",
    )
    learning_sweeps: float = parameter(
        20.0, above=0, unit="sweeps", about="Most sweeps of each walker while learning."
    )
    halvings: int = parameter(
        3,
        minimum=0,
        maximum=60,
        unit="halvings",
        about="How often ln f is halved before learning ends.",
    )
    settle_sweeps: float = parameter(
        40.0,
        above=0,
        unit="sweeps",
        about="Sweeps of each walker between learning and production.",
    )
    block_sweeps: float = parameter(
        10.0,
        above=0,
        unit="sweeps",
        about="Sweeps of each walker in one block of production.",
    )
    min_blocks: int = parameter(
        12, minimum=1, unit="blocks", stops=True, about="Fewest blocks of production."
    )
    max_blocks: int = parameter(
        400, minimum=1, unit="blocks", stops=True, about="Most blocks of production."
    )
    ln_v_error: float = parameter(
        0.01,
        above=0,
        unit="fraction",
        stops=True,
        about="Wanted standard error of ln V, as a fraction of its size; 0.05 nats suffice in any "
        "case.",
    )
    accuracy_error: float = parameter(
        0.01,
        above=0,
        unit="fraction",
        stops=True,
        about="Wanted standard error of the interpolators' test accuracy.",
    )


_ENOUGH_NATS = 0.05


def run(
    problem: Problem,
    parameters: Parameters,
    seed: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Density of states ln g(A), log-volume and accuracy of the typical interpolator.

    Args:
        seed: 64-bit seed; the result depends on it and on the problem and parameters alone.
        threads: walker sets that run at a time.
        device: cpu or cuda; the result does not depend on it.
        checkpoint: of an earlier process; the result does not depend on it either.

    Returns:
        The common scalars and, over ``A`` (0..n): ``log_g``, its error, visits, and the mean test
        accuracy at each A with its error; over ``window``: the windows and their diagnostics; over
        ``state``: weights of walkers at or near A = n, for ``joint`` to start from.
    """
    n, n_test = len(problem.y_train), len(problem.y_test)
    with ThreadPoolExecutor(threads) as pool:
        levels = Levels(base=0, bins=1, width=1)
        sampler = FlatHistogram(
            "rewl",
            problem,
            parameters,
            seed,
            pool,
            levels,
            np.zeros(n + 1),
            device,
            checkpoint,
        )
        uniform, last = draw_bulk(sampler, parameters.bulk_draws)
        ladder = sampler.explore(last, uniform, goal=n)
        learned = Learned(sampler, ladder)
        bounds, log_weight, moves = sampler.divide(
            ladder,
            parameters.window_cost,
            learned.learn,
            ladder.snapshots,
            ladder.snapshot_levels,
        )
        # Rare enough that tests below A = n take a fraction of the time; odd, like the moves of a
        # round. A test costs about N / (9 n) rounds of one window.
        test_every = max(4 * ROUNDS_A_SWEEP - 1, n_test // (2 * n) | 1)
        production, complaints = sampler.produce(
            bounds,
            log_weight,
            moves,
            uniform,
            partial(_complaints, parameters),
            test_low=bounds[-1][1],
            test_every=test_every,
        )
    if not np.isfinite(production.log_p[n]):
        top = bounds[-1][1]
        complaints.insert(
            0, f"no weight setting with A = n = {n} was found, the highest A met is {top}"
        )
    states = np.array([walkers.weights[walkers.replica[-1]] for walkers in sampler.sets])
    at = np.array([walkers.level[walkers.replica[-1]] for walkers in sampler.sets])
    result = _result(
        problem, sampler.moves, bounds, uniform, ladder, learned, production, complaints
    )
    return result.assign(
        state_correct=("state", at, {"long_name": "A of the state", "units": "1"}),
        state_weights=(
            ("state", "byte"),
            pack_weights(states),
            {"long_name": "weights of the state, one bit each, 1 for +1", "units": "1"},
        ),
    )


def draw_bulk(sampler: FlatHistogram, draws: int) -> tuple[Uniform, np.ndarray]:
    """Plain uniform draws, shared among the groups; also the last weights of each set."""
    recalled = sampler.checkpoint.recall()
    if recalled is not None:
        last = unpack_weights(recalled.pop("last"), sampler.network.n_weights)
        return Uniform(**recalled), last
    groups = len(sampler.sets) * GROUPS
    each = -(-draws // groups)
    visits, tests, test_sum = np.zeros((3, groups, sampler.n + 1), np.int64)

    def one(r):
        weights = np.empty((each, sampler.network.n_weights), np.int8)
        for group in range(r * GROUPS, (r + 1) * GROUPS):
            counts = visits[group], tests[group], test_sum[group]
            sampler.draw_uniform(r, weights, group * each, *counts)
        return weights[-1]

    last = np.array(list(sampler.pool.map(one, range(len(sampler.sets)))))
    counts = {"visits": visits, "tests": tests, "test_sum": test_sum}
    sampler.checkpoint.add(lambda: counts | {"last": pack_weights(last)}, dict)
    return Uniform(**counts), last


class Learned:
    """The learning stage, and its record: ln f after each step (steps, W), and flatness (W)."""

    def __init__(self, sampler: FlatHistogram, ladder: Ladder):
        self._sampler, self._ladder = sampler, ladder

    def learn(self, bounds: list[tuple[int, int]]) -> np.ndarray:
        """``learn`` in the windows given; their ln weights (W, n + 1)."""
        log_weight, self.ln_f, self.flatness = learn(self._sampler, bounds, self._ladder)
        return log_weight


def learn(
    sampler: FlatHistogram, bounds: list[tuple[int, int]], ladder: Ladder
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wang-Landau from the warm start: sets update their own weights, then all take the mean.

    Updates are spaced so that A has had a chance to change between them, and the first ln f is such
    that a window's weights change by about one nat while A is being forgotten: larger steps only
    undo what the warm start knows.

    Returns:
        ln weights (W, n + 1), ln f after each step (steps, W), and the last flatness (W,).
    """
    p = sampler.parameters
    progress = Progress("rewl, learning stage", "steps")
    low = np.array([window[0] for window in bounds])
    inside = sampler.inside(bounds)
    weight = sampler.window_weights(ladder.log_p, bounds)
    populated = inside & np.isfinite(ladder.log_p)
    rate = np.array([np.nanmean(ladder.change_rate[a : b + 1]) for a, b in bounds])
    memory = ladder.longest_memory(bounds)
    interval = np.clip(np.rint(1 / np.maximum(rate, 1e-9)), 1, 1000).astype(np.int64)
    first = np.minimum(1.0, interval / memory)
    ln_f = first.copy()
    updates = 1 / first  # of each bin, as if earlier ones had led to the warm start
    visits = np.zeros(inside.shape)
    flatness = np.zeros(len(low))
    rounds, moves = 2 * ROUNDS_A_SWEEP, sampler.share(memory)
    most = max(1, int(p.learning_sweeps / 2))
    history = []
    for done in range(1, most + 1):
        own = [Windows(weight.copy(), low, ln_f, interval) for _ in sampler.sets]
        tallies = sampler.run(own, rounds, moves)
        visits += sum(t.visits for t in tallies)
        populated |= visits > 0
        updates += rounds * moves / interval / populated.sum(axis=1)
        for w in range(len(low)):
            bins = inside[w]
            weight[w, bins] = np.mean(
                [o.log_weight[w, bins] - o.log_weight[w, bins].mean() for o in own], axis=0
            )
            counted = visits[w, populated[w]]
            flatness[w] = counted.min() / counted.mean()
            if flatness[w] >= p.flatness and ln_f[w] > 1 / updates[w]:
                ln_f[w] /= 2
                visits[w] = 0
            if 0 < ln_f[w] < 1 / updates[w] or ln_f[w] < first[w] / 2:
                ln_f[w] = 1 / updates[w]
        history.append(ln_f.copy())
        note = f"largest ln f {ln_f.max():.2g}, least flatness {flatness.min():.2f}"
        progress.update(done, most, note)
        if (ln_f <= first / 2**p.halvings).all():
            break
    return weight, np.array(history), flatness


def _complaints(parameters: Parameters, production: Production) -> list[str]:
    """What a run lacks to count as converged, in words; nothing if it did.

    The wanted standard errors of ln V and of the accuracy; no drift of ln V from the first half of
    production to the second; and the criteria of ``Production.complaints``. Where A = n was not
    found, the errors are judged at the highest A that was.
    """
    said = []
    top = np.flatnonzero(np.isfinite(production.log_p))[-1]
    error = production.stderr()[top]
    wanted = max(parameters.ln_v_error * abs(production.log_p[top]), _ENOUGH_NATS)
    if not error <= wanted:
        said.append(f"standard error of ln V {error:.3g} nats, wanted {wanted:.3g}")
    error = production.accuracy_stderr()[top]
    if not error <= parameters.accuracy_error:
        said.append(
            f"standard error of the accuracy {error:.3g}, wanted {parameters.accuracy_error:.3g}"
        )
    said += production.drift_complaints(lambda log_p: log_p[top], "ln V")
    return said + production.complaints()


def _result(problem, moves, bounds, uniform, ladder, learned, production, complaints):
    n, n_weights = len(problem.y_train), problem.network.n_weights
    log_p, log_p_stderr = production.log_p, production.stderr()
    accuracy, accuracy_stderr = production.accuracy, production.accuracy_stderr()
    reached = np.isfinite(log_p[n])
    result = common_result(
        test_accuracy=accuracy[n],
        test_accuracy_stderr=accuracy_stderr[n],
        log_volume=log_p[n] if reached else np.nan,
        log_volume_stderr=log_p_stderr[n] if reached else np.nan,
        converged=not complaints,
        verdict="not converged: " + "; ".join(complaints) if complaints else "converged",
        moves=moves,
        guesses=int(uniform.visits.sum()),
    )
    test_counts = sum(t.test_counts for block in production.blocks for t in block)

    def over(dim, values, long_name, units):
        return (dim, np.asarray(values), {"long_name": long_name, "units": units})

    nan_if_unseen = np.where(np.isfinite(log_p), log_p_stderr, np.nan)
    return result.assign_coords(
        A=over("A", np.arange(n + 1), "training examples classified correctly", "1"),
        test_correct=over(
            "test_correct", np.arange(len(test_counts)), "test examples classified correctly", "1"
        ),
    ).assign(
        log_g=over("A", log_p + n_weights * np.log(2), "ln density of states", "nat"),
        log_g_stderr=over("A", nan_if_unseen, "standard error of log_g", "nat"),
        accuracy_given_A=over("A", accuracy, "mean test accuracy at A", "1"),
        accuracy_given_A_stderr=over(
            "A", accuracy_stderr, "standard error of accuracy_given_A", "1"
        ),
        tests_at_A=over("A", production.tests, "test evaluations at A", "1"),
        test_counts=over("test_correct", test_counts, "test evaluations at the highest A", "1"),
        window_low=over("window", [w[0] for w in bounds], "lowest A of the window", "1"),
        window_high=over("window", [w[1] for w in bounds], "highest A of the window", "1"),
        **production.diagnostics(),
        log_volume_drift=over(
            (),
            production.drift(lambda values: values[n]) if reached else np.nan,
            "change of the log-volume between the halves of production, in standard errors",
            "1",
        ),
        flatness=over("window", learned.flatness, "least over mean visits, last of learning", "1"),
        ln_f=over(("learning_step", "window"), learned.ln_f, "modification factor", "nat"),
        log_volume_integrated=over(
            (),
            _integrate(n, uniform, ladder),
            "log-volume by thermodynamic integration of the exploratory pass, a rough check",
            "nat",
        ),
    )


def _integrate(n: int, uniform: Uniform, ladder: Ladder) -> float:
    """ln V = - integral over beta from 0 of (n - <A>), by the trapezoidal rule."""
    upper = ladder.beta > 0
    bulk = np.average(np.arange(n + 1), weights=uniform.visits.sum(axis=0))
    beta = np.concatenate([[0.0], ladder.beta[upper]])
    mean = np.concatenate([[bulk], ladder.mean[upper]])
    return -float(np.trapezoid(n - mean, beta))
