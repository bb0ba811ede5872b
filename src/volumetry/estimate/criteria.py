"""When a run counts as converged: the criteria, their limits, and what is said of one not met."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Criterion(NamedTuple):
    """One thing that a run had to show.

    Attributes:
        name: what was judged.
        value, limit: what it was, and what it had to be at least or at most.
        met: whether it was.
        complaint: what to say if it was not.
    """

    name: str
    value: float
    limit: float
    met: bool
    complaint: str


@dataclass(frozen=True)
class Rule:
    """What is judged, and how.

    Attributes:
        name: what is judged, as tables call it.
        complaint: the sentence about one that is not met, with ``{value}``, ``{limit}`` and what
            else ``judge`` is given.
        limit: NaN where it is a parameter of the run.
        shown: the limit, as tables write it.
        at_least: whether the value has to reach the limit, or else not to exceed it.
        known: whether a value that is NaN counts as not met.
    """

    name: str
    complaint: str
    shown: str
    limit: float = np.nan
    at_least: bool = False
    known: bool = False

    def judge(self, value: float, limit: float | None = None, **words) -> Criterion:
        """A value against the limit, or the one given."""
        limit = self.limit if limit is None else limit
        met = value >= limit if self.at_least else value <= limit
        met = bool(met or (np.isnan(value) and not self.known))
        said = self.complaint.format(value=value, limit=limit, **words)
        return Criterion(self.name, float(value), float(limit), met, said)


VOLUME_ERROR = Rule(
    "standard error of ln V (`rewl`, `population_annealing`)",
    "standard error of ln V {value:.3g} nats, wanted {limit:.3g}",
    r"`ln_v_error` x \|ln V\|, or 0.05 nats if that is more",
    known=True,
)
ACCURACY_ERROR = Rule(
    "standard error of the interpolators' accuracy",
    "standard error of the accuracy {value:.3g}, wanted {limit:.3g}",
    "`accuracy_error`",
    known=True,
)
LOSS_ERROR = Rule(
    "standard error of the interpolators' generalisation loss, relative (matrix sensing)",
    "standard error of the generalisation loss {value:.3g} of it, wanted {limit:.3g}",
    "`accuracy_error`",
    known=True,
)
TAIL_ERROR = Rule(
    "standard error of each tail volume (`joint`)",
    "standard error of a tail volume {value:.3g} nats, wanted {limit:.3g}",
    "`tail_error`",
    known=True,
)
DRIFT = Rule(
    "change of ln V between the halves of production (`rewl`)",
    "ln V drifted by {value:.1f} standard errors between the halves",
    "3.5 standard errors",
    limit=3.5,
)
EXCHANGE = Rule(
    "exchanges accepted between neighbouring windows",
    "windows {window} and {next} exchange at a rate of {value:.3g} only",
    "5 %",
    limit=0.05,
    at_least=True,
)
SAMPLES = Rule(
    "effective samples of A (or of the loss) in each window",
    "window {window} has {value:.0f} effective samples, fewer than {limit}",
    "40",
    limit=40,
    at_least=True,
)
R_HAT = Rule(
    "split R-hat over the walkers of each window",
    "walkers of window {window} differ, R-hat {value:.2f}",
    "1.1",
    limit=1.1,
)
AGREEMENT = Rule(
    "agreement of neighbouring windows over what they share",
    "windows {window} and {next} disagree where they overlap, p = {value:.1g}",
    "p > 0.0001",
    limit=1e-4,
    at_least=True,
)
UNIFORM_AGREEMENT = Rule(
    "agreement of the windows with the uniform draws (`rewl`)",
    "windows and uniform draws disagree, p = {value:.1g}",
    "p > 0.0001",
    limit=1e-4,
    at_least=True,
)
ROUND_TRIPS = Rule(
    "round trips of replicas, where free diffusion makes more than 500",
    "{value:.0f} round trips, where free diffusion makes {free:.0f}",
    "1 % of that",
    limit=0.01,
    at_least=True,
)
SAMPLERS_AGREE = Rule(
    "ln V, and accuracy or loss, against those of another volume sampler that converged on the "
    "same cell",
    "{rival} finds another {quantity}, p = {value:.1g}",
    "p > 0.001",
    limit=1e-3,
    at_least=True,
)
GOAL_FOUND = Rule(
    "weights with A = n",
    "no weight setting with A = n = {limit:.0f} was found, the highest A met is {value:.0f}",
    "found",
    at_least=True,
)
LOSS_REACHED = Rule(
    "weights with a training loss below `epsilon` (matrix sensing)",
    "no weight setting with a training loss below epsilon was found, {value:.0f} of {limit:.0f} "
    "bins on the way to it were met",
    "found",
    at_least=True,
)
SPREAD = Rule(
    "half the variance between populations of ln V, or of ln Z at the end of a way (`joint`): by "
    "how much ln of the mean V is above the mean ln V, if that is normal",
    "populations differ so much that {value:.2g} nats of ln V hang on the shape of their "
    "distribution, more than {limit:.2g}: raise members or rung_sweeps",
    # Far above what sensible parameters have: to refuse what is often met would leave those runs
    # alone whose populations happen to be alike, and too low.
    "4 nats",
    limit=4,
    known=True,
)
ONE_KIND = Rule(
    "populations that are all of one kind: Grubbs's test of the one whose ln V is farthest "
    "(`population_annealing`)",
    "one population is too far from the others to be of their kind, p = {value:.1g}",
    "p > 0.001",
    limit=1e-3,
    at_least=True,
)
NO_LAG = Rule(
    "members that keep up with the temperature: what relaxing adds to ln Z over all rungs is zero "
    "by a t-test over populations, or less than half the error of ln V",
    "members lag behind the temperature: relaxing adds {lag:.2g} nats to ln Z, p = {value:.1g}; "
    "raise rung_sweeps",
    "p > 0.01",
    limit=1e-2,
    at_least=True,
)
NOTHING_MISSED = Rule(
    "ln V by populations pulled towards trained networks, above that of an anneal",
    "populations pulled towards trained networks found {more:.2g} nats more volume, {value:.1f} "
    "standard errors",
    "3 standard errors, or the wanted one",
    limit=3,
)
NOTHING_MISSED_BY_PLAIN = Rule(
    "ln V by tilted anneals, above that of the plain one (`joint`)",
    "tilted anneals found {more:.2g} nats more volume, {value:.1f} standard errors",
    "3 standard errors, or `tail_error`",
    limit=3,
)
TAIL_BIAS = Rule(
    "expected bias of ln Z at the end of each way (`joint`)",
    "populations differ so much that ln Z is expected {value:.3g} nats low, wanted {limit:.3g}",
    "`tail_error`",
    known=True,
)
WAYS_AGREE = Rule(
    "volume of the fits that two neighbouring ways both met, by one and by the other (`joint`)",
    "the ways of tilt {tilt} and {next} disagree where they meet, p = {value:.1g}",
    "p > 0.01",
    limit=1e-2,
    at_least=True,
)
SETS_AGREE = Rule(
    "differences between walker sets in ln V and in accuracy or loss, against those within them",
    "walker sets differ in {what} by more than they fluctuate, p = {value:.1g}",
    "p > 0.001",
    limit=1e-3,
    at_least=True,
)
SIDES_AGREE = Rule(
    "differences between sets that started from an anneal and from training, against the same",
    "walker sets that started from trained networks differ from the others in {what}, "
    "p = {value:.1g}",
    "p > 0.001",
    limit=1e-3,
    at_least=True,
)
LINEAGES = Rule(
    "independent lineages of each layer's weights in the highest window, or in all populations",
    "the weights of {layer} have {value:.1f} independent lineages only, fewer than {limit}",
    "10",
    limit=10,
    at_least=True,
)
LINEAGES_OF_ONE = Rule(
    "independent lineages of each layer's weights in a population, mean",
    "the weights of {layer} have {value:.1f} independent lineages only in a population, fewer than "
    "{limit}: raise members",
    # With fewer, most populations are of one kind, and differ by more than some of them can tell.
    "2",
    limit=2,
    at_least=True,
)
NETWORKS_REACHED = Rule(
    "trained networks beyond every accuracy that was reached (`joint`)",
    "{value:.0f} trained networks are beyond every accuracy that was reached",
    "none",
    limit=0,
)

RULES = (
    GOAL_FOUND,
    LOSS_REACHED,
    VOLUME_ERROR,
    ACCURACY_ERROR,
    LOSS_ERROR,
    TAIL_ERROR,
    DRIFT,
    EXCHANGE,
    SAMPLES,
    R_HAT,
    AGREEMENT,
    UNIFORM_AGREEMENT,
    ROUND_TRIPS,
    SAMPLERS_AGREE,
    SPREAD,
    ONE_KIND,
    NO_LAG,
    NOTHING_MISSED,
    NOTHING_MISSED_BY_PLAIN,
    TAIL_BIAS,
    WAYS_AGREE,
    SETS_AGREE,
    SIDES_AGREE,
    LINEAGES,
    LINEAGES_OF_ONE,
    NETWORKS_REACHED,
)
"""Every criterion of the samplers that use Markov chains."""


def complaints(criteria: Iterable[Criterion]) -> list[str]:
    """What is to be said of those that are not met."""
    return [criterion.complaint for criterion in criteria if not criterion.met]


def missed(criteria: Iterable[Criterion]) -> set[str]:
    """Names of those that are not met."""
    return {criterion.name for criterion in criteria if not criterion.met}


def verdict(criteria: Iterable[Criterion]) -> str:
    """The verdict of a run in words: converged, or everything that it lacks."""
    said = complaints(criteria)
    return f"not converged: {'; '.join(said)}" if said else "converged"
