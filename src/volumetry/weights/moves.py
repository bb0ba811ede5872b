"""Kinds of moves: how many weights flip, and among which."""

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


def consecutive(sizes: Iterable[tuple[str, int]]) -> tuple[Segment, ...]:
    """Segments one after the other, by (name, size)."""
    found, first = [], 0
    for name, size in sizes:
        found.append(Segment(name, first, size))
        first += size
    return tuple(found)


class Kind(NamedTuple):
    """A kind of move: it flips some of a segment's weights, chosen uniformly.

    It is symmetric: a move and its inverse are proposed alike, whatever the weights.

    Attributes:
        segment: where.
        flips: how many; odd, since an even number would never change the parity of the number of
            weights -1.
    """

    segment: Segment
    flips: int

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.flips} of {self.segment.name}"
