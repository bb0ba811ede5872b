"""Replica-exchange Wang-Landau sampling of the number of correct training examples A, or of a loss.

Stages: uniform *bulk* draws; an *exploratory* canonical pass with weights exp(beta A) that finds a
first ln g(A) and states everywhere; Wang-Landau *learning* in overlapping windows (Wang & Landau
2001, doi:10.1103/PhysRevLett.86.2050; the 1/t rule of Belardinelli & Pereyra 2007,
doi:10.1103/PhysRevE.75.046701; replica exchange of Vogel et al. 2013,
doi:10.1103/PhysRevLett.110.210603); and *production* with frozen weights, from which every
estimate comes.

Several independent walker sets do all this side by side, each with one walker in every window;
replicas are exchanged only inside a set. Every other set starts from networks that gradients found
(``flat_histogram.both_sides``).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from volumetry.chains.records import Schedule
from volumetry.estimate.criteria import (
    ACCURACY_ERROR,
    GOAL_FOUND,
    LOSS_ERROR,
    LOSS_REACHED,
    VOLUME_ERROR,
    Criterion,
    verdict,
)
from volumetry.estimate.production import GROUPS, Production, Uniform, compare
from volumetry.estimate.production_criteria import (
    agreement_criteria,
    drift_criterion,
    general_criteria,
)
from volumetry.estimate.scores import score_at_top
from volumetry.methods.flat_histogram.both_sides import both_sides, from_training, train
from volumetry.methods.flat_histogram.explore import Anneal, Ladder, explore
from volumetry.methods.flat_histogram.learn import learn
from volumetry.methods.flat_histogram.produce import Produced, produce
from volumetry.methods.flat_histogram.setting import ROUNDS_A_SWEEP, Flat, open_run
from volumetry.methods.flat_histogram.settle import Settled, divide
from volumetry.methods.mixing import most_flips
from volumetry.methods.precision import nats_wanted, wanted_accuracy_error, wanted_ln_v_error
from volumetry.methods.result import common_result, scored
from volumetry.parameters import parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.netcdf import described as over
from volumetry.systems.classification import Problem
from volumetry.systems.sensing import SensingProblem
from volumetry.systems.system import System


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler.

    A *sweep* is n_weights / flips moves of one walker, at least 300.
    """

    flips: int = most_flips()
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
        20.0, minimum=2, unit="sweeps", about="Most sweeps of each walker while learning."
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
        about="Sweeps of each walker between learning and production; each of the four trials "
        "takes one or more.",
    )
    block_sweeps: float = parameter(
        10.0,
        minimum=0.5,
        unit="sweeps",
        about="Sweeps of each walker in one block of production.",
    )
    min_blocks: int = parameter(
        12, minimum=1, unit="blocks", stops=True, about="Fewest blocks of production."
    )
    max_blocks: int = parameter(
        400, minimum=1, unit="blocks", stops=True, about="Most blocks of production."
    )
    ln_v_error: float = wanted_ln_v_error()
    accuracy_error: float = wanted_accuracy_error()


def run(
    problem: Problem | SensingProblem,
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
        The common scalars and, over ``A`` (0..n) or bins of a loss: ``log_g`` and its error; over
        ``A``: the mean test accuracy at each with its error; over ``window``: the windows and
        their diagnostics; over ``window`` and ``move_kind``: ``move_share`` and
        ``move_acceptance``; over ``state``: weights of walkers at or near A = n.
    """
    system = problem.system
    with ThreadPoolExecutor(threads) as pool:
        flat = open_run(
            "rewl", system, parameters, seed, pool, device=device, checkpoint=checkpoint
        )
        uniform, last = draw_bulk(flat, parameters.bulk_draws)
        goal = int(system.grid.coordinate[system.grid.goal].min())
        ladder = explore(flat, Anneal(parameters.rung_sweeps, goal), last, uniform)
        settled = divide(
            flat,
            ladder,
            both_sides(flat, ladder, parameters.rung_sweeps, train(flat, seed)),
            partial(learn, flat, parameters, ladder),
            window_cost=parameters.window_cost,
            settle_sweeps=parameters.settle_sweeps,
        )
        # Odd, like the moves of a round.
        every = max(4 * ROUNDS_A_SWEEP - 1, system.tests_every)
        tests = Schedule(low=settled.bounds[-1][1], every=every)
        produced = produce(
            flat, parameters, settled, partial(_judge, parameters, system), uniform, tests
        )
    result = _result(system, flat.chains.moves, settled, uniform, ladder, produced)
    return flat.describe(result, produced.made)


def draw_bulk(flat: Flat, draws: int) -> tuple[Uniform, np.ndarray]:
    """Plain uniform draws, shared among the groups; also the last weights of each set."""
    groups = flat.sets * GROUPS
    found = flat.chains.draw(groups, -(-draws // groups))
    return Uniform(found.visits, found.tests, found.test_sum), found.last


def _judge(parameters: Parameters, system: System, production: Production) -> list[Criterion]:
    """What a run has to show to count as converged.

    The wanted standard errors of ln V and of the accuracy or loss; no drift of ln V from the first
    half of production to the second; walker sets that agree on both, wherever they started from;
    and the general criteria. Where A = n was not found, all is judged at the highest A that was.
    """
    top = np.flatnonzero(np.isfinite(production.log_p))[-1]
    wanted = nats_wanted(parameters.ln_v_error, production.log_p[top])
    sides = from_training(parameters.walkers)
    if system.of_losses:
        score = score_at_top(production, system.mean_score)
        precise = LOSS_ERROR.judge(score.stderr / score.value, parameters.accuracy_error)
        agreement, what = compare(score.without, sides), "the generalisation loss"
    else:
        stderr = production.accuracy_stderr()[top]
        precise = ACCURACY_ERROR.judge(stderr, parameters.accuracy_error)
        agreement, what = production.sets_agree_on_accuracy(top, sides), "the accuracy"
    return [
        VOLUME_ERROR.judge(production.stderr()[top], wanted),
        precise,
        drift_criterion(production, lambda log_p: log_p[top]),
        *agreement_criteria(production.sets_agree(lambda log_p: log_p[top], sides), "ln V"),
        *agreement_criteria(agreement, what),
        *general_criteria(production),
    ]


def _result(
    system: System,
    moves: int,
    settled: Settled,
    uniform: Uniform,
    ladder: Ladder,
    produced: Produced,
) -> xr.Dataset:
    production, bounds = produced.production, settled.bounds
    log_p, log_p_stderr = production.log_p, production.stderr()
    n = system.grid.size - 1
    reached = bool(np.isfinite(log_p[n]))
    rule = LOSS_REACHED if system.of_losses else GOAL_FOUND
    highest = np.flatnonzero(np.isfinite(log_p))[-1]
    criteria = [rule.judge(highest, n), *produced.criteria]
    result = common_result(
        **_mean_score(system, production, reached),
        log_volume=log_p[n] if reached else np.nan,
        log_volume_stderr=log_p_stderr[n] if reached else np.nan,
        log_volume_df=production.df()[n],
        converged=all(criterion.met for criterion in criteria),
        verdict=verdict(criteria),
        moves=moves,
        guesses=int(uniform.visits.sum()),
    )
    test_counts = sum(block.test_counts.sum(axis=0) for block in production.blocks)
    learned, axis, score_axis = settled.learned, system.axis, system.score_axis
    level = system.level_name
    nan_if_unseen = np.where(np.isfinite(log_p), log_p_stderr, np.nan)
    return result.assign_coords(
        {axis.name: over(*axis), score_axis.name: over(*score_axis)}
    ).assign(
        log_g=over(axis.name, log_p + system.space.log_total, "ln density of states", "nat"),
        log_g_stderr=over(axis.name, nan_if_unseen, "standard error of log_g", "nat"),
        **({} if system.of_losses else _over_correct(production)),
        test_counts=over(score_axis.name, test_counts, f"test evaluations at the highest {level}"),
        window_low=over("window", [low for low, _ in bounds], f"lowest {level} of the window"),
        window_high=over("window", [high for _, high in bounds], f"highest {level} of the window"),
        **production.diagnostics(),
        log_volume_drift=over(
            (),
            production.drift(lambda values: values[n]) if reached else np.nan,
            "change of the log-volume between the halves of production, in standard errors",
        ),
        flatness=over("window", learned.flatness, "least over mean visits, last of learning"),
        ln_f=over(("learning_step", "window"), learned.ln_f, "modification factor", "nat"),
        log_volume_integrated=over(
            (),
            _integrate(n, uniform, ladder),
            "log-volume by thermodynamic integration of the exploratory pass, a rough check",
            "nat",
        ),
        state_correct=over("state", produced.top.levels, f"{level} of the state"),
        state_weights=over(
            ("state", "byte"),
            system.space.encode(produced.top.weights),
            f"weights of the state, {system.space.encoding}",
        ),
    )


def _mean_score(system: System, production: Production, reached: bool) -> dict[str, float]:
    """The mean test score of the interpolators, for ``common_result``."""
    n = system.grid.size - 1
    if not system.of_losses:
        errors = production.accuracy_stderr()[n], production.accuracy_df()[n]
        return scored(system.score_name, production.accuracy[n], *errors)
    if not reached:
        return scored(system.score_name, np.nan, np.nan, np.inf)
    score = score_at_top(production, system.mean_score)
    return scored(system.score_name, score.value, score.stderr, score.df)


def _over_correct(production: Production) -> dict:
    """Test accuracies over A, as variables of the result."""
    return {
        "accuracy_given_A": over("A", production.accuracy, "mean test accuracy at A"),
        "accuracy_given_A_stderr": over(
            "A", production.accuracy_stderr(), "standard error of accuracy_given_A"
        ),
        "tests_at_A": over("A", production.tests, "test evaluations at A"),
    }


def _integrate(n: int, uniform: Uniform, ladder: Ladder) -> float:
    """ln V = - integral over beta from 0 of (n - <A>), by the trapezoidal rule."""
    upper = ladder.beta > 0
    bulk = np.average(np.arange(n + 1), weights=uniform.visits.sum(axis=0))
    beta = np.concatenate([[0.0], ladder.beta[upper]])
    mean = np.concatenate([[bulk], ladder.mean[upper]])
    return -float(np.trapezoid(n - mean, beta))
