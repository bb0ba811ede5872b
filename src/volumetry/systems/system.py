"""What a system has to offer: all that the samplers know of what they measure."""

from typing import Protocol

import numpy as np

from volumetry.systems.grid import Grid
from volumetry.weights.moves import Kind, Segment
from volumetry.weights.space import WeightSpace


class System(Protocol):
    """What is observed of weights.

    Attributes:
        space: where the weights live.
        grid: the levels, and which of them are the goal.
        largest_score: what a perfect test score counts; scores are whole numbers from 0.
    """

    space: WeightSpace
    grid: Grid
    largest_score: int

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Weights that play one part each, such as layers, in order; together, all."""
        ...

    def work(self, kind: Kind) -> float:
        """What evaluating a move of a kind costs, roughly and in any unit; no clock is asked."""
        ...

    def observe(self, weights: np.ndarray) -> tuple[int, int]:
        """Level and test score of weights (size,), computed in full: the yardstick."""
        ...

    def walker_bytes(self) -> int:
        """Memory that incremental evaluation takes for one walker."""
        ...
