"""Kinds of moves: how many weights change, among which, and how far."""

from collections.abc import Iterable
from typing import NamedTuple


class Segment(NamedTuple):
    """Consecutive weights that play one part, such as those of a layer.

    Attributes:
        name: for results.
        first, size: its first weight, and how many there are.
    """

    name: str
    first: int
    size: int


def everything(size: int) -> Segment:
    """All weights of a space of so many."""
    return Segment("all", 0, size)


def consecutive(sizes: Iterable[tuple[str, int]]) -> tuple[Segment, ...]:
    """Segments one after the other, by (name, size)."""
    found, first = [], 0
    for name, size in sizes:
        found.append(Segment(name, first, size))
        first += size
    return tuple(found)


class Kind(NamedTuple):
    """A kind of move: it changes some of a segment's weights, chosen uniformly.

    A move and its inverse are as likely, under the measure of the space, whatever the weights.

    Attributes:
        segment: where.
        flips: how many weights of -1 or +1 it flips: odd, since an even number would never change
            the parity of the number of weights -1. Of real weights, how many of those that come
            into one unit it changes, at most.
        step: b of real weights: 1 forgets the old values of normal ones; else 1.
    """

    segment: Segment
    flips: int
    step: float = 1.0

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.flips} of {self.segment.name}" + (
            f", step {self.step:g}" if self.step < 1 else ""
        )

    @property
    def renewed(self) -> float:
        """How many weights an accepted move makes independent of what they were, roughly."""
        return self.flips * self.step**2
