"""What a system has to offer: all that the samplers know of what they measure."""

from typing import Any, Protocol

import numpy as np

from volumetry.systems.grid import Axis, Grid, Levels
from volumetry.weights.moves import Kind, Segment
from volumetry.weights.space import WeightSpace


class System(Protocol):
    """What is observed of weights.

    Attributes:
        levels: how a coordinate and a test score make a level.
        grid: the levels, and which of them are the goal.
        score_name: what results call the mean of the test scores.
        level_name: what messages call a coordinate.
        of_losses: whether scores stand for losses, and a higher level for a lower one.
        tests_every: rounds between tests of all walkers such that tests do not cost most of the
            time; odd.
    """

    levels: Levels
    grid: Grid
    score_name: str
    level_name: str
    of_losses: bool

    @property
    def problem(self) -> Any:
        """What is measured, a network among it."""
        ...

    @property
    def space(self) -> WeightSpace:
        """Where the weights live."""
        ...

    @property
    def largest_score(self) -> int:
        """What a perfect test score counts; scores are whole numbers from 0."""
        ...

    @property
    def tests_every(self) -> int: ...

    @property
    def axis(self) -> Axis:
        """What the coordinate is."""
        ...

    @property
    def score_axis(self) -> Axis:
        """What a test score is."""
        ...

    def mean_score(self, shares: np.ndarray) -> float:
        """Mean of what the scores stand for, from the fraction of each: (largest_score + 1,)."""
        ...

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
