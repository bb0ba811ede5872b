"""The contract of the chains."""

from typing import Protocol

import numpy as np

from volumetry.chains.records import (
    NO_TESTS,
    Advance,
    Draws,
    Population,
    Pull,
    Relaxed,
    Schedule,
    Walkers,
    Windows,
)
from volumetry.systems.system import System


class Chains(Protocol):
    """R walker sets of one system, with a random number for every (seed, set, window, step).

    The weights of the walkers stay here, on whatever device; of them, the records say where they
    stand. A call makes whole rounds: a call for each move would cost a thousand times as much.

    Attributes:
        system: what is measured.
        sets: R.
    """

    sets: int

    @property
    def system(self) -> System: ...

    def bytes_needed(self, windows: int) -> int:
        """Memory of this machine that a replica in each of so many windows takes, all sets."""
        ...

    def place(self, weights: np.ndarray, step: int = 0) -> Walkers:
        """Put a walker into every window.

        Args:
            weights: (R, W, n_weights).
            step: what random numbers go on from: beyond those used so far.
        """
        ...

    def advance(
        self,
        walkers: Walkers,
        windows: Windows,
        rounds: int,
        moves: np.ndarray,
        tests: Schedule = NO_TESTS,
    ) -> Advance:
        """Make rounds: in each ``moves[w]`` moves in window w, then exchanges, then tests.

        A move that is rejected, or that leaves the window, counts the current level again.
        Exchanges join windows (0, 1), (2, 3), ... and (1, 2), (3, 4), ... in turn.

        Args:
            walkers: as the last ``place`` or ``advance`` left them.
            moves: int64 (W,).
            tests: none for a system that tests at every move.
        """
        ...

    def draw(self, groups: int, each: int) -> Draws:
        """Draw weights independently; group g has the draws numbered from g * ``each`` on.

        Args:
            groups: a multiple of R.
        """
        ...

    def populate(self, first: int, members: int) -> Population:
        """Draw a population from the measure of the weight space, members numbered from there."""
        ...

    def relax(
        self,
        population: Population,
        parents: np.ndarray,
        window: Windows,
        rounds: int,
        moves: int,
        groups: int,
        tests: Schedule = NO_TESTS,
        pull: Pull | None = None,
    ) -> Relaxed:
        """Make every member a copy of its parent, then make rounds of ``moves`` moves with each.

        The population owes nothing to walkers that were placed, nor they to it. With a pull, moves
        are accepted by window and pull together, those that keep the level included.

        Args:
            parents: int64 (members,): a member for each.
            window: a single one, for all; its weights are fixed.
            groups: in which members are counted, one after the other; divides their number.
            pull: towards weights of each group's own; none by default.
        """
        ...

    def positions(self) -> np.ndarray:
        """The weights of all walkers, as ``resume`` takes them."""
        ...

    def resume(self, walkers: Walkers, positions: np.ndarray) -> None:
        """Go on from walkers whose weights ``positions`` told, perhaps in another process."""
        ...
