"""Real weights, each with a prior of its own: normal or uniform, with a scale for each layer."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volumetry.parameters import adapted
from volumetry.weights.moves import Segment

PRIORS = ("gaussian", "uniform")


@dataclass(frozen=True)
class RealWeights:
    """Independent weights: float32 arrays whose last axis is the weight.

    The measure of a set of weights is its probability under the prior, so that of the whole space
    is one.

    Attributes:
        prior: one of ``PRIORS``.
        segments: the weights of each layer, in order; together, all.
        scales: of each segment: the standard deviation of a normal prior, or half the width of a
            uniform one.
    """

    prior: str
    segments: tuple[Segment, ...]
    scales: tuple[float, ...]

    dtype = np.dtype(np.float32)

    @cached_property
    def size(self) -> int:
        """M, the number of weights."""
        return sum(segment.size for segment in self.segments)

    @property
    def log_total(self) -> float:
        """ln of the measure of the whole space: 0."""
        return 0.0

    @cached_property
    def scale(self) -> np.ndarray:
        """Of each weight: float32 (size,)."""
        return np.repeat(self.scales, [segment.size for segment in self.segments]).astype(
            np.float32
        )

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Weights drawn from the prior: float32 (size,)."""
        if self.prior == "gaussian":
            return rng.standard_normal(self.size, np.float32) * self.scale
        return (2 * rng.random(self.size, np.float32) - 1) * self.scale

    def encode(self, weights) -> np.ndarray:
        """Four bytes a weight: uint8 (..., 4 size)."""
        return np.ascontiguousarray(weights, np.float32).view(np.uint8)

    def decode(self, code: np.ndarray) -> np.ndarray:
        """Weights, float32 (..., size), from what ``encode`` made of them."""
        return np.ascontiguousarray(code).view(np.float32)

    def flips(self, wanted: int, default: int | None = None) -> int:
        """How many weights a move changes; a default is as many as there can be.

        Raises:
            ConfigError: more than there are, and not the default.
        """
        rule = f"no more than the number of weights, {self.size}"
        return adapted("flips", wanted, default, self.size, rule)

    def moves(self, wanted):
        """``wanted`` moves: any number lets any state be met."""
        return wanted
