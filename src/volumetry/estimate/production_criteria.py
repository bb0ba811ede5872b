"""How the criteria of convergence apply to the production stage of a flat-histogram sampler."""

from collections.abc import Callable

import numpy as np

from volumetry.estimate.criteria import (
    AGREEMENT,
    DRIFT,
    EXCHANGE,
    LINEAGES,
    R_HAT,
    ROUND_TRIPS,
    SAMPLES,
    SETS_AGREE,
    SIDES_AGREE,
    UNIFORM_AGREEMENT,
    Criterion,
)
from volumetry.estimate.production import Agreement, Production

_EXPECTED_TRIPS = 500


def general_criteria(production: Production) -> list[Criterion]:
    """What every production is judged by, whatever precision its user asked for.

    Enough independent lineages of the weights of every layer in the highest window; exchange
    between all neighbouring windows; round trips, no hundred times fewer than free diffusion makes,
    where that expects many; enough effective samples; walkers of a window that agree; windows that
    agree where they overlap, and with the uniform draws.
    """
    slowest = min(production.lineages, key=production.lineages.__getitem__)
    judged = [LINEAGES.judge(production.lineages[slowest], layer=slowest)]
    judged += [
        EXCHANGE.judge(rate, window=w, next=w + 1) for w, rate in enumerate(production.exchange)
    ]
    free = production.expected_round_trips()
    if free > _EXPECTED_TRIPS:
        trips = int(production.round_trips.sum())
        judged.append(ROUND_TRIPS.judge(trips, ROUND_TRIPS.limit * free, free=free))
    samples = production.effective_samples
    if np.isfinite(production.log_p).sum() > 1:
        worst = int(samples.argmin())
        judged.append(SAMPLES.judge(samples[worst], window=worst))
    worst = int(np.argmax(production.r_hat))
    judged.append(R_HAT.judge(production.r_hat[worst], window=worst))
    judged += [AGREEMENT.judge(p, window=w, next=w + 1) for w, p in enumerate(production.agreement)]
    return [*judged, UNIFORM_AGREEMENT.judge(production.uniform_agreement)]


def drift_criterion(production: Production, function: Callable[[np.ndarray], float]) -> Criterion:
    """The halves of production agree on a function of ln p."""
    drift = production.drift(function)
    said = DRIFT.judge(abs(drift))
    return said._replace(complaint=DRIFT.complaint.format(value=drift))


def agreement_criteria(agreement: Agreement, what: str) -> list[Criterion]:
    """The walker sets agree on something, and so do the sides that they started from."""
    return [
        SIDES_AGREE.judge(agreement.sides, what=what),
        SETS_AGREE.judge(agreement.sets, what=what),
    ]
