"""The levels that a system puts weights on."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Axis(NamedTuple):
    """What numbers along an axis are.

    Attributes:
        name: of the axis.
        values: (its length,).
        about: long name of the values.
    """

    name: str
    values: np.ndarray
    about: str


class Levels(NamedTuple):
    """How a coordinate and the test score make a level, for kernels.

    level = coordinate * bins + (test score) // width; with one bin, the test score is not looked
    at.

    Attributes:
        bins: bins of the test score.
        width: test scores of a bin.
    """

    bins: int
    width: int


@dataclass(frozen=True)
class Grid:
    """Levels numbered from 0, on one axis or two.

    One axis is the *coordinate*: windows divide it, and sampling makes it flat. On a grid of two
    axes, levels with the same coordinate differ in the other observable.

    Attributes:
        coordinate: int (levels,): of each level.
        goal: bool (levels,): the levels whose share of the measure is the volume.
    """

    coordinate: np.ndarray
    goal: np.ndarray

    @property
    def size(self) -> int:
        """Number of levels."""
        return len(self.coordinate)

    @cached_property
    def n_coordinates(self) -> int:
        """Number of values of the coordinate, 0 included."""
        return int(self.coordinate.max()) + 1

    def fold(self, log_values: np.ndarray) -> np.ndarray:
        """ln of the sum over levels of the same coordinate: (levels,) -> (coordinates,)."""
        values = np.full(self.n_coordinates, -np.inf)
        np.logaddexp.at(values, self.coordinate, log_values)
        return values

    def inside(self, bounds: list[tuple[int, int]]) -> np.ndarray:
        """Whether a level is in a window (lowest and highest coordinate): (W, levels)."""
        low, high = np.array(bounds).T[:, :, None]
        return (self.coordinate >= low) & (self.coordinate <= high)
