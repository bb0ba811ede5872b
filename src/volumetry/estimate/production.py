"""What the production stage of a flat-histogram sampler says, and how well it knows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.special import fdtrc

from volumetry.estimate.reweighting import (
    histograms_agree,
    jackknife_stderr,
    multi_histogram,
    split_r_hat,
    statistical_inefficiency,
)
from volumetry.runtime.netcdf import described as over

GROUPS = 8
"""Most stretches that each walker set is cut into for the jackknife."""


@dataclass(frozen=True)
class Uniform:
    """Uniform draws that stand beside the windows as an ensemble of their own.

    Attributes:
        visits, tests, test_sum: int64 (sets * GROUPS, levels): draws, tests, and sums of scores.
    """

    visits: np.ndarray
    tests: np.ndarray
    test_sum: np.ndarray


class Agreement(NamedTuple):
    """Probabilities that chance makes walker sets differ more.

    Attributes:
        sets: each from the others.
        sides: the sets that started from one side from those that started from the other.
    """

    sets: float
    sides: float


def compare(without: np.ndarray, sides: np.ndarray) -> Agreement:
    """F-tests of the differences between sets against those between stretches of a set.

    Args:
        without: (sets, stretches): estimates without a stretch; up to a factor and a constant,
            which matter to no F-test, what the stretch says itself (Tukey's pseudo-values).
        sides: bool (sets,): which side a set started from; alike for all if there was only one.
    """
    sets, stretches = without.shape
    mean = without.mean(axis=1)
    freedom = sets * (stretches - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.float64(((without - mean[:, None]) ** 2).sum()) / freedom / stretches
        between = [mean.var(ddof=1) / noise, np.nan]
        if sides.any() and not sides.all():
            parts = mean[sides], mean[~sides]
            difference = parts[0].mean() - parts[1].mean()
            between[1] = difference**2 / (noise * sum(1 / len(part) for part in parts))
        chances = fdtrc([sets - 1, 1], freedom, between)
    # Sets that all say the same differ by nothing, however little they scatter.
    return Agreement(*np.where(np.ptp(mean) == 0, 1.0, chances))


class Production:
    """Tallies of fixed-weight windows, by block and walker set, and what follows from them.

    Attributes:
        log_p: (levels,): ln of the probability of a level, nats; absolute if there are uniform
            draws, else up to a constant.
        tests: (levels,): test evaluations.
        accuracy: (levels,): mean test accuracy; NaN where it was not evaluated.
        groups_met: (levels,): stretches of walker sets in which a level was met.
        sets_met: (levels,): walker sets that met it.
        effective_samples, r_hat: (W,), of the coordinate.
        exchange: (W - 1,): fraction of exchanges accepted with the next window.
        acceptance: (W,): fraction of moves accepted.
        agreement: (W - 1,): probability of a larger chi-squared between the histograms of
            neighbouring windows over the levels they share.
        uniform_agreement: the same for the uniform draws and the window that holds most of them;
            NaN without draws.
        round_trips: int64 (sets, W): of each replica.
        stretches, top_counts: of each set; () -> (sets * stretches, scores), tests at the top.
        lineages: layer -> independent settings of its weights in the highest window; at least as
            many as replicas that came there from the lowest.
    """

    def __init__(
        self,
        log_weight,
        blocks,
        coordinate,
        uniform: Uniform | None,
        largest_score: int,
        tops: Mapping[str, np.ndarray],
    ):
        """Estimate everything.

        Args:
            log_weight: (W, levels), fixed.
            blocks: the ``Tally`` of each block, its visits sparse (sets * W, levels).
            coordinate: (levels,): what the windows are windows of.
            largest_score: test score of accuracy 1.
            tops: layer -> weights, (sets, blocks, weights), in the highest window after each block.
        """
        self.blocks, self.largest_score = blocks, largest_score
        sets, stretches = len(blocks[0].trace), min(GROUPS, len(blocks))
        self.stretches, windows = stretches, len(log_weight)
        parts = np.array_split(np.arange(len(blocks)), stretches)

        def collect(field):
            """Sums over each stretch of each set: (sets * stretches, ...)."""
            sums = [sum(getattr(blocks[b], field) for b in part) for part in parts]
            sums = np.array([each.toarray() if issparse(each) else each for each in sums])
            by_set = sums.reshape(stretches, sets, -1).swapaxes(0, 1)
            return by_set.reshape(sets * stretches, -1)

        def regroup(counts):
            pieces = np.array_split(counts.reshape(sets, GROUPS, -1), stretches, axis=1)
            return np.array([piece[r].sum(axis=0) for r in range(sets) for piece in pieces])

        visits = collect("visits").astype(float).reshape(-1, *log_weight.shape)
        traces = np.concatenate([block.trace for block in blocks], axis=2)
        # (W, sets, rounds)
        self._traces = coordinate[np.ascontiguousarray(traces.swapaxes(0, 1))]
        slow = np.array([statistical_inefficiency(trace) for trace in self._traces])
        self.effective_samples = self._traces[0].size / slow
        visits *= (self.effective_samples / visits.sum(axis=(0, 2)))[None, :, None]
        self.r_hat = np.array([split_r_hat(trace) for trace in self._traces])
        tests, scores = collect("tests"), collect("test_sum")
        draws = np.zeros((sets * stretches, log_weight.shape[1]))
        if uniform is not None:
            draws = regroup(uniform.visits).astype(float)
            tests, scores = tests + regroup(uniform.tests), scores + regroup(uniform.test_sum)
        self._counts = np.concatenate([draws[:, None], visits], axis=1)
        self._log_weight = np.concatenate([np.zeros((1, log_weight.shape[1])), log_weight])
        total = self._counts.sum(axis=0)
        met = self._counts.any(axis=1)
        self.groups_met = met.sum(axis=0)
        self.sets_met = met.reshape(sets, stretches, -1).any(axis=1).sum(axis=0)
        self.log_p, self._f = multi_histogram(total, self._log_weight)
        self.tests, self._tests, self._scores = tests.sum(axis=0), tests, scores
        with np.errstate(invalid="ignore", divide="ignore"):
            self.accuracy = scores.sum(axis=0) / self.tests / largest_score
        self.agreement = np.array(
            [
                histograms_agree(total[w : w + 2], self._log_weight[w : w + 2])
                for w in range(1, windows)
            ]
        )
        self.uniform_agreement = np.nan
        if uniform is not None:
            shared = (total[0] * np.isfinite(log_weight)).sum(axis=1)
            pair = [0, 1 + int(shared.argmax())]
            self.uniform_agreement = histograms_agree(total[pair], self._log_weight[pair])
        self.top_counts = partial(collect, "test_counts")
        self._count_moves(sets)
        trips = int(self.round_trips.sum()) + sets
        self.lineages = {
            layer: float(max(trips, sets * len(blocks) / statistical_inefficiency(trace)))
            for layer, trace in tops.items()
        }
        self._replicates = None

    def _count_moves(self, sets: int) -> None:
        """What all blocks say of moves, exchanges and round trips."""
        blocks = self.blocks
        attempts, exchanges, accepted = (
            sum(getattr(block, field).sum(axis=0) for block in blocks)
            for field in ("attempts", "exchanges", "accepted")
        )
        self.exchange = exchanges[:-1] / np.maximum(attempts[:-1], 1)
        made = sum(block.visits.sum(axis=1) for block in blocks)
        self.acceptance = accepted.sum(axis=1) / made.reshape(sets, -1).sum(axis=0)
        self.round_trips = sum(block.round_trips for block in blocks)

    def stderr(self, function: Callable[[np.ndarray], np.ndarray] = lambda log_p: log_p):
        """Delete-one-group errors of a function of ``log_p``.

        Once a group is a stretch of one walker set, once a whole set; the larger error counts. The
        first knows short memories well from many groups, the second shows what outlasts a stretch.
        NaN where a group alone holds what the function needs.
        """
        return np.maximum(*self._errors(function))

    def df(self, function: Callable[[np.ndarray], np.ndarray] = lambda log_p: log_p):
        """Degrees of freedom of ``stderr``: of the jackknife that decided, its groups less one."""
        return self.df_of(self._errors(function))

    def df_of(self, errors: list[np.ndarray]):
        """The same, of errors over stretches of sets and over sets."""
        groups = len(self._counts)
        by_stretch, by_set = errors
        return np.where(by_stretch > by_set, groups - 1, groups // self.stretches - 1)

    def _errors(self, function) -> list[np.ndarray]:
        """Jackknife errors of a function of ``log_p``, over stretches of sets and over sets."""
        with np.errstate(invalid="ignore"):
            return [
                jackknife_stderr(np.array([function(log_p) for log_p in without]))
                for without in self._without_one()
            ]

    def _without_one(self) -> list[np.ndarray]:
        """``log_p`` without a stretch of a set, for each; and without a set."""
        if self._replicates is None:
            total = self._counts.sum(axis=0)
            self._replicates = [
                np.array(
                    [
                        multi_histogram(total - group, self._log_weight, self._f)[0]
                        for group in self.pool(self._counts, pooled)
                    ]
                )
                for pooled in (1, self.stretches)
            ]
        return self._replicates

    def accuracy_stderr(self) -> np.ndarray:
        """Errors of ``accuracy``, as ``stderr``."""
        return np.maximum(*self._accuracy_errors())

    def accuracy_df(self) -> np.ndarray:
        """Degrees of freedom of ``accuracy_stderr``, as ``df``."""
        return self.df_of(self._accuracy_errors())

    def _accuracy_errors(self) -> list[np.ndarray]:
        with np.errstate(invalid="ignore"):
            return [jackknife_stderr(self._accuracy_without(p)) for p in (1, self.stretches)]

    def _accuracy_without(self, pooled: int) -> np.ndarray:
        """``accuracy`` without each of the groups of ``pooled`` stretches."""
        scores = self._scores.sum(axis=0) - self.pool(self._scores, pooled)
        tests = self.tests - self.pool(self._tests, pooled)
        with np.errstate(invalid="ignore", divide="ignore"):
            return scores / tests / self.largest_score

    def sets_agree(self, function: Callable[[np.ndarray], float], sides: np.ndarray) -> "Agreement":
        """Whether walker sets agree on a function of ``log_p``; ``sides`` as for ``compare``."""
        values = np.array([function(log_p) for log_p in self._without_one()[0]])
        return compare(values.reshape(-1, self.stretches), sides)

    def sets_agree_on_accuracy(self, level: int, sides: np.ndarray) -> "Agreement":
        """The same, on the accuracy at a level."""
        return compare(self._accuracy_without(1)[:, level].reshape(-1, self.stretches), sides)

    def drift(self, function: Callable[[np.ndarray], float]) -> float:
        """Change of a function of ``log_p`` between the halves of production, in standard errors.

        Halves have twice the variance of the whole, hence their difference four times.
        """
        if self.stretches < 2:
            return np.nan
        early = np.arange(len(self._counts)) % self.stretches < self.stretches // 2
        halves = [
            function(multi_histogram(self._counts[part].sum(axis=0), self._log_weight, self._f)[0])
            for part in (early, ~early)
        ]
        error = 2 * self.stderr(function)
        return float((halves[1] - halves[0]) / error) if error > 0 else 0.0

    @staticmethod
    def pool(values, pooled):
        """Sums of ``pooled`` successive groups."""
        return values.reshape(-1, pooled, *values.shape[1:]).sum(axis=1)

    def expected_round_trips(self) -> float:
        """Round trips that all replicas would make if they diffused freely between windows.

        A replica takes a step in a round with about the probability p of an exchange, so it needs
        W^2 / p rounds from one end to the other.
        """
        windows, sets, rounds = self._traces.shape
        if windows == 1:
            return 0.0
        return sets * windows * rounds * float(np.mean(self.exchange)) / (2 * windows**2)

    def diagnostics(self) -> dict:
        """The diagnostics as variables of a result: name -> (dimensions, values, attributes)."""
        return {
            "acceptance": over("window", self.acceptance, "fraction of moves accepted"),
            "exchange_acceptance": over(
                "window",
                np.append(self.exchange, np.nan),
                "fraction of exchanges accepted with the next window",
            ),
            "effective_samples": over("window", self.effective_samples, "effective sample size"),
            "r_hat": over("window", self.r_hat, "split R-hat over walkers"),
            "agreement": over(
                "window",
                np.append(self.agreement, np.nan),
                "probability of a larger chi-squared against the next window, over what they share",
            ),
            "uniform_agreement": over(
                (),
                self.uniform_agreement,
                "probability of a larger chi-squared between windows and uniform draws",
            ),
            "replica_round_trips": over(
                ("walker", "window"),
                self.round_trips,
                "round trips of the replica that started in a window",
            ),
            "round_trips": over((), int(self.round_trips.sum()), "round trips"),
            "lineages": over(
                "layer",
                list(self.lineages.values()),
                "independent settings of the layer's weights in the highest window",
            ),
            "free_round_trips": over(
                (), self.expected_round_trips(), "round trips of freely diffusing replicas"
            ),
            "production_blocks": over((), len(self.blocks), "blocks of production"),
        }
