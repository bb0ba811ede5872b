"""Population annealing of the number of correct training examples A.

Populations are annealed until most of their members fit (``methods.annealing``). Whole populations
are repeated: the spread between them is the error, and the first of them choose the temperatures of
all. Where they differ too much, or have few lineages, larger ones take their place. Others are
pulled towards trained networks (``methods.guided``): if they find more volume, an anneal passes
most of it by.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr

from volumetry.estimate.criteria import (
    ACCURACY_ERROR,
    GOAL_FOUND,
    LINEAGES,
    LINEAGES_OF_ONE,
    LOSS_ERROR,
    LOSS_REACHED,
    NO_LAG,
    NOTHING_MISSED,
    ONE_KIND,
    SPREAD,
    VOLUME_ERROR,
    Criterion,
    complaints,
    missed,
    verdict,
)
from volumetry.estimate.populations import (
    Populations,
    lag_p_value,
    log_mean,
    log_normal_mean,
    log_normal_mean_stderr,
)
from volumetry.methods.annealing import (
    Anneal,
    AnnealParameters,
    anneal,
    families,
    lags,
    lineages,
    way,
)
from volumetry.methods.effort import Effort, Next
from volumetry.methods.guided import described_guided, excess, guided_log_volumes
from volumetry.methods.precision import nats_wanted, wanted_ln_v_error
from volumetry.methods.result import common_result, scored
from volumetry.methods.setting import Setting
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.netcdf import described as over
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Problem
from volumetry.systems.sensing import SensingProblem
from volumetry.systems.system import System

_MOST_STATES = 64


@dataclass(frozen=True)
class Parameters(AnnealParameters):
    """Parameters of the sampler.

    A *sweep* is n_weights / flips moves of one member, at least 300.
    """

    ln_v_error: float = wanted_ln_v_error()


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
        threads: members that are relaxed at a time.
        device: cpu or cuda; the result does not depend on it.
        checkpoint: of an earlier process; the result does not depend on it either.

    Returns:
        The common scalars and, over ``A`` (0..n) or bins of a loss: ``log_g`` and its error; over
        ``rung``: the temperatures; over ``population``: its ln V, families and, by ``layer``,
        lineages; over ``state``: weights of members at the goal.
    """
    system = problem.system
    anneals: list[Anneal] = []
    guided, effort = None, Effort(parameters)
    progress = Progress("population_annealing", "anneals")
    with ThreadPoolExecutor(threads) as pool:
        setting = Setting.open(
            "population_annealing",
            system,
            parameters,
            1,
            seed,
            pool,
            device=device,
            checkpoint=checkpoint,
        )
        while True:
            first = anneals[0] if anneals else None
            anneals.append(anneal(setting, effort.each, seed, effort.done, first=first))
            effort = effort.one_more()
            behind = lineages(system, anneals)
            found = _estimate(system, anneals, behind)
            if guided is None:
                known = anneals[0].beta[-1], found.log_volume
                guided = guided_log_volumes(setting, parameters.guides, *known, seed)
            criteria = _judge(parameters, system, anneals, behind, found, guided)
            said = complaints(criteria)
            progress.update(effort.done, parameters.max_anneals, said[0] if said else "converged")
            follows = effort.follows(missed(criteria))
            if follows is Next.END:
                break
            if follows is Next.LARGER:
                anneals, effort = [], effort.larger()
    return _result(
        system, setting.chains.moves, effort.drawn, anneals, behind, found, guided, criteria
    )


def _estimate(system: System, anneals: list[Anneal], behind: np.ndarray) -> Populations:
    tests = np.concatenate([each.test_counts for each in anneals])
    independent = behind.min(axis=1)
    return Populations([way(anneals)], system.grid.goal, tests, independent, system.mean_score)


def _judge(
    parameters: Parameters,
    system: System,
    anneals: list[Anneal],
    behind: np.ndarray,
    found: Populations,
    guided: np.ndarray,
) -> list[Criterion]:
    """What a run has to show to count as converged."""
    reached = np.flatnonzero(np.isfinite(found.log_p))[-1]
    wanted = nats_wanted(parameters.ln_v_error, found.log_p[reached])
    goal = (LOSS_REACHED if system.of_losses else GOAL_FOUND).judge(reached, system.grid.size - 1)
    if not goal.met:
        return [goal]
    slowest = int(behind.sum(axis=0).argmin())
    of_slowest, layer = behind[:, slowest], system.segments[slowest].name
    late_by = lags(anneals)
    criteria = [goal]
    if len(guided):
        more = excess(guided, found.log_volume, found.log_volume_stderr, wanted)
        more_by = log_mean(guided) - found.log_volume
        criteria.append(NOTHING_MISSED.judge(more, more=more_by))
    return [
        *criteria,
        SPREAD.judge(found.by_shape),
        NO_LAG.judge(lag_p_value(late_by, found.log_volume_stderr), lag=late_by.mean()),
        VOLUME_ERROR.judge(found.log_volume_stderr, wanted),
        LOSS_ERROR.judge(found.score_stderr / found.score, parameters.accuracy_error)
        if system.of_losses
        else ACCURACY_ERROR.judge(found.score_stderr, parameters.accuracy_error),
        ONE_KIND.judge(found.outlier),
        LINEAGES.judge(of_slowest.sum(), layer=layer),
        LINEAGES_OF_ONE.judge(of_slowest.mean(), layer=layer),
    ]


def _result(
    system: System,
    moves: int,
    drawn: int,
    anneals: list[Anneal],
    behind: np.ndarray,
    found: Populations,
    guided: np.ndarray,
    criteria: list[Criterion],
) -> xr.Dataset:
    reached, axis, score_axis = criteria[0].met, system.axis, system.score_axis
    result = common_result(
        **scored(system.score_name, found.score, found.score_stderr, len(found.log_volumes) - 1),
        log_volume=found.log_volume if reached else np.nan,
        log_volume_stderr=found.log_volume_stderr if reached else np.nan,
        log_volume_df=len(found.log_volumes) - 1,
        converged=all(criterion.met for criterion in criteria),
        verdict=verdict(criteria),
        moves=moves,
        guesses=drawn,
    )
    codes = np.concatenate([each.population.codes for each in anneals])
    level = np.concatenate([each.population.level for each in anneals])
    fits = np.flatnonzero(system.grid.goal[level])
    kept = fits[:: max(1, len(fits) // _MOST_STATES)][:_MOST_STATES]
    log_p, log_p_stderr = log_normal_mean(found.each), log_normal_mean_stderr(found.each)
    return result.assign_coords(
        {
            axis.name: over(*axis),
            "layer": over(
                "layer", [s.name for s in system.segments], "layer whose weights are meant"
            ),
            score_axis.name: over(*score_axis),
        }
    ).assign(
        log_g=over(axis.name, log_p + system.space.log_total, "ln density of states", "nat"),
        log_g_stderr=over(
            axis.name,
            np.where(np.isfinite(log_p), log_p_stderr, np.nan),
            "standard error of log_g",
            "nat",
        ),
        beta=over("rung", found.ways[0].beta, "inverse temperature"),
        log_z=over(("population", "rung"), found.ways[0].log_z, "ln Z(beta) / Z(0)", "nat"),
        log_volume_of_population=over(
            "population", found.log_volumes, "log-volume that the population found", "nat"
        ),
        guided_log_volumes=described_guided(guided),
        lag=over(
            "population",
            lags(anneals),
            "how much ln Z changes while members relax, summed over the rungs",
            "nat",
        ),
        families=over("population", families(anneals), "effective families among the members"),
        lineages=over(("population", "layer"), behind, "effective lineages of the weights"),
        score_shares=over(
            score_axis.name, found.score_shares, "fraction of the interpolators with that score"
        ),
        state_correct=over(
            "state", system.grid.coordinate[level[kept]], f"{system.level_name} of the state"
        ),
        state_weights=over(
            ("state", "byte"), codes[kept], f"weights of the state, {system.space.encoding}"
        ),
    )
