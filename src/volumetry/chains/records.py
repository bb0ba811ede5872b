"""What goes into the chain and what comes out of it: documented arrays.

R walker sets run side by side, each with a *replica* in each of W windows; replicas are exchanged
between the windows of a set and never leave it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from volumetry.weights.moves import Kind, everything
from volumetry.weights.space import WeightSpace


class Walkers(NamedTuple):
    """Where all walkers stand; their weights stay with the chains.

    Attributes:
        level: int64 (R, W): of each replica.
        replica: int64 (R, W): which replica is in a window.
        heading: int8 (R, W): -1 after a replica's visit to the lowest window, +1 after one to the
            highest that followed it, 0 before either.
        step: int64 (R, 1 + W): rounds made so far, and moves in each window; with the seed, the
            whole random state.
    """

    level: np.ndarray
    replica: np.ndarray
    heading: np.ndarray
    step: np.ndarray

    @property
    def next_step(self) -> int:
        """A step beyond all that were used."""
        return int(self.step.max())

    @property
    def levels(self) -> np.ndarray:
        """Level of the walker in each window: (R, W)."""
        return np.take_along_axis(self.level, self.replica, axis=1)


class Mixture(NamedTuple):
    """K kinds of moves, and how often each of W windows proposes them.

    A window draws the kind of every move anew, whatever the weights: as every kind is reversible,
    so is the mixture.

    Attributes:
        kinds: int64 (K, 3): the first weight and the number of weights of a kind's segment, and how
            many of them it changes.
        until: int64 (W, K): a window takes the first kind whose entry is above a uniform 32-bit
            word; the last is 2^32.
        steps: float64 (K,): how far a kind goes, where weights are real.
    """

    kinds: np.ndarray
    until: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, kinds: Sequence[Kind], share: np.ndarray) -> "Mixture":
        """A mixture with a share of the moves for each kind.

        Args:
            share: (W, K): positive, in any unit.
        """
        table = np.array([(*kind.segment[1:], kind.flips) for kind in kinds], np.int64)
        until = np.cumsum(share, axis=1) / np.sum(share, axis=1, keepdims=True)
        until[:, -1] = 1.0
        steps = np.array([kind.step for kind in kinds])
        return cls(table, np.rint(until * 2.0**32).astype(np.int64), steps)

    @property
    def share(self) -> np.ndarray:
        """Fraction of a window's moves that are of a kind: (W, K)."""
        return np.diff(self.until, axis=1, prepend=0) / 2.0**32


class Windows(NamedTuple):
    """What the chain samples in each of W windows, the same for every set.

    Attributes:
        log_weight: float64 (W, levels): ln weight, -inf outside the window.
        low: int64 (W): the lowest coordinate of the window.
        ln_f: float64 (W): what a visit subtracts from the weight; 0 keeps the weights fixed.
        interval: int64 (W): moves between such updates.
        mixture: kinds of moves; None for the single kind that changes as many of all weights as
            the chains were made for.
    """

    log_weight: np.ndarray
    low: np.ndarray
    ln_f: np.ndarray
    interval: np.ndarray
    mixture: Mixture | None = None

    @classmethod
    def fixed(
        cls, log_weight: np.ndarray, low: np.ndarray, mixture: Mixture | None = None
    ) -> "Windows":
        """Windows whose weights no visit changes."""
        count = len(low)
        return cls(log_weight, low, np.zeros(count), np.ones(count, np.int64), mixture)

    def mixed(self, space: WeightSpace, flips: int) -> "Windows":
        """The same windows with a mixture: by default, moves of any ``flips`` weights alone."""
        if self.mixture is not None:
            return self
        anywhere = space.kinds([everything(space.size)], flips)[:1]
        return self._replace(mixture=Mixture.of(anywhere, np.ones((len(self.low), 1))))


class Schedule(NamedTuple):
    """When the chain evaluates the test score of a walker, at the end of a round.

    Attributes:
        low: where its level is at least this; None for nowhere.
        every: and of all walkers every so many rounds; 0 for never.
    """

    low: int | None = None
    every: int = 0

    def lowest(self, levels: int) -> int:
        """``low``, or beyond all of so many levels."""
        return levels if self.low is None else self.low


NO_TESTS = Schedule()
"""A chain that does not look at the test set between moves."""


class Pull(NamedTuple):
    """A field that favours weights near given ones: it adds strength x (w . toward) to ln weight.

    Attributes:
        toward: (groups, n_weights), as the weight space has it (``toward``), 0 where nothing
            pulls: for the members of each group.
        strength: any sign; 0 changes nothing.
    """

    toward: np.ndarray
    strength: float

    def of_member(self, member: int, members: int) -> np.ndarray:
        """What pulls a member, of so many: (n_weights,)."""
        return self.toward[member * len(self.toward) // members]


class Tally(NamedTuple):
    """What the chain counts. All integers, so sums do not depend on their order.

    Attributes:
        visits: int64 (R, W, levels): moves after which a window was at a level.
        trace: int32 (R, W, rounds): level at the end of each round.
        changes: int64 (R, W, levels): moves that left a level for another.
        proposed, accepted: int64 (R, W, K): moves of each kind, and how many were accepted.
        attempts, exchanges: int64 (R, W): with the next higher window.
        round_trips: int64 (R, W): of each replica, lowest to highest window and back.
        tests, test_sum: int64 (R, levels): tests made at a level, and the sum of their scores.
        test_counts: int64 (R, N + 1): how often a test at the highest level had each score.
    """

    visits: np.ndarray
    trace: np.ndarray
    changes: np.ndarray
    proposed: np.ndarray
    accepted: np.ndarray
    attempts: np.ndarray
    exchanges: np.ndarray
    round_trips: np.ndarray
    tests: np.ndarray
    test_sum: np.ndarray
    test_counts: np.ndarray


class Advance(NamedTuple):
    """What some rounds of the chain leave.

    Attributes:
        walkers: where they stand afterwards.
        tally: what was counted.
        log_weight: float64 (R, W, levels): the weights that each set ended with.
        top: (R, n_weights): weights of the walker in the highest window of each set.
    """

    walkers: Walkers
    tally: Tally
    log_weight: np.ndarray
    top: np.ndarray


class Population(NamedTuple):
    """Members that are relaxed at one temperature and resampled for the next.

    Attributes:
        codes: uint8 (members, bytes): packed weights.
        level: int64 (members,).
        first: number of the first member: no two of a run have the same.
        step: what random numbers go on from.
    """

    codes: np.ndarray
    level: np.ndarray
    first: int
    step: int


class Relaxed(NamedTuple):
    """What the relaxation of a population leaves; a group is as many members as any other.

    Attributes:
        population: where its members stand afterwards.
        trace: int32 (members, rounds): level at the end of each round.
        overlap: float64 (members,): w . toward of a pull at the end; 0 without one.
        visits: int64 (groups, levels): moves after which a member was at a level.
        proposed, accepted: int64 (groups, K): moves of each kind, and how many were accepted.
        tests, test_sum, test_counts: as in ``Tally``, of each group.
    """

    population: Population
    trace: np.ndarray
    overlap: np.ndarray
    visits: np.ndarray
    proposed: np.ndarray
    accepted: np.ndarray
    tests: np.ndarray
    test_sum: np.ndarray
    test_counts: np.ndarray

    def enter(
        self,
        members: slice,
        codes: np.ndarray,
        level: np.ndarray,
        trace: np.ndarray,
        tally: Tally,
    ) -> None:
        """Enter new weights and levels of members of one group, and what was counted of them.

        Args:
            tally: of all of them, as one set of one window; its ``trace`` is not looked at.
        """
        self.population.codes[members], self.population.level[members] = codes, level
        self.trace[members] = trace
        group = members.start * len(self.visits) // len(self.trace)
        for name in ("visits", "proposed", "accepted"):
            getattr(self, name)[group] += getattr(tally, name)[0]
        for name in ("tests", "test_sum", "test_counts"):
            getattr(self, name)[group] += getattr(tally, name)


class Draws(NamedTuple):
    """Independent draws from the measure of the weight space, in groups.

    Attributes:
        visits: int64 (groups, levels): draws at a level.
        tests, test_sum: int64 (groups, levels): tests made at a level, and the sum of their scores.
        last: (R, n_weights): a draw for each set to start from.
    """

    visits: np.ndarray
    tests: np.ndarray
    test_sum: np.ndarray
    last: np.ndarray


def of_set(record, r: int):
    """What a record, such as ``Walkers`` or ``Tally``, says of walker set r."""
    return type(record)(*(values[r] for values in record))


def new_walkers(sets: int, windows: int, step: int = 0) -> Walkers:
    """Walkers that have not moved, replica w in window w."""
    return Walkers(
        np.zeros((sets, windows), np.int64),
        np.tile(np.arange(windows), (sets, 1)),
        np.zeros((sets, windows), np.int8),
        np.full((sets, 1 + windows), step, np.int64),
    )


def new_tally(
    sets: int, windows: int, levels: int, largest_score: int, rounds: int, kinds: int = 1
) -> Tally:
    """An empty tally."""
    by_level = (sets, windows, levels)
    return Tally(
        visits=np.zeros(by_level, np.int64),
        trace=np.zeros((sets, windows, rounds), np.int32),
        changes=np.zeros(by_level, np.int64),
        proposed=np.zeros((sets, windows, kinds), np.int64),
        accepted=np.zeros((sets, windows, kinds), np.int64),
        attempts=np.zeros((sets, windows), np.int64),
        exchanges=np.zeros((sets, windows), np.int64),
        round_trips=np.zeros((sets, windows), np.int64),
        tests=np.zeros((sets, levels), np.int64),
        test_sum=np.zeros((sets, levels), np.int64),
        test_counts=np.zeros((sets, largest_score + 1), np.int64),
    )


def new_relaxed(
    population: Population,
    groups: int,
    levels: int,
    largest_score: int,
    rounds: int,
    moves: int,
    kinds: int,
) -> Relaxed:
    """A copy of the population, as many steps on, and nothing counted yet."""
    members = len(population.level)
    codes, level = population.codes.copy(), population.level.copy()
    return Relaxed(
        Population(codes, level, population.first, population.step + rounds * moves),
        trace=np.zeros((members, rounds), np.int32),
        overlap=np.zeros(members),
        visits=np.zeros((groups, levels), np.int64),
        proposed=np.zeros((groups, kinds), np.int64),
        accepted=np.zeros((groups, kinds), np.int64),
        tests=np.zeros((groups, levels), np.int64),
        test_sum=np.zeros((groups, levels), np.int64),
        test_counts=np.zeros((groups, largest_score + 1), np.int64),
    )
