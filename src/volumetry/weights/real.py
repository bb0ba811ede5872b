"""Real weights, each with a prior of its own: normal or uniform, with a scale for each layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volumetry.parameters import adapted
from volumetry.weights.moves import Kind, Segment, everything

PRIORS = ("gaussian", "uniform")

_BLOCK = 8
"""Weights that a move changes by default: as much work as what follows from them."""

_FLAT = 1e-6
"""A field that tilts a uniform prior by no more than this from end to end leaves it uniform."""

_STEPS = (1.0, 0.5, 0.25, 0.125)
"""Steps b of moves; a run makes most of those that renew weights fastest."""


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
    encoding = "four bytes a weight, a float32 in the order of this machine"

    @cached_property
    def size(self) -> int:
        """M, the number of weights."""
        return sum(segment.size for segment in self.segments)

    @property
    def log_total(self) -> float:
        """ln of the measure of the whole space: 0."""
        return 0.0

    @property
    def code_bytes(self) -> int:
        """Bytes of weights that are encoded."""
        return 4 * self.size

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
        """How many incoming weights of a unit a move changes, at most; by default a few.

        Raises:
            ConfigError: more than there are, and not the default.
        """
        if wanted == default:
            return min(_BLOCK, self.size)
        rule = f"no more than the number of weights, {self.size}"
        return adapted("flips", wanted, default, self.size, rule)

    def kinds(self, segments: Sequence[Segment], flips: int) -> tuple[Kind, ...]:
        """Some incoming weights of any unit, and of those of each segment, by several steps."""
        by_segment = (Kind(segment, flips, b) for segment in segments for b in _STEPS)
        return tuple(dict.fromkeys([Kind(everything(self.size), flips, 0.5), *by_segment]))

    def toward(self, weights: np.ndarray) -> np.ndarray:
        """The weights over the variance of their prior: a field of h = 1 moves the mean of normal
        weights there."""
        variance = np.square(np.float64(self.scale)) / (1 if self.prior == "gaussian" else 3)
        return (weights / variance).astype(np.float32)

    def draw_pulled(
        self, field: np.ndarray, strength: float, members: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Independent draws in each of some fields: float32 (fields, members, size)."""
        tilt = (strength * field * np.float64(self.scale))[:, None]
        shape = len(field), members, self.size
        if self.prior == "gaussian":
            return ((rng.standard_normal(shape) + tilt) * self.scale).astype(np.float32)
        share = rng.random(shape)
        steep = np.where(np.abs(tilt) < _FLAT, _FLAT, tilt)
        # The inverse of their distribution, from the end that they are drawn to.
        draws = 1 + np.log1p(share * np.expm1(-2 * abs(steep))) / abs(steep)
        draws *= np.sign(steep)
        return (np.clip(draws, -1, 1) * self.scale).astype(np.float32)

    def log_mean_pull(self, field: np.ndarray, strength: float) -> np.ndarray:
        """ln of the mean of exp(h w . f), nats: of normal weights (h s f)^2 / 2, of uniform ones
        ln(sinh(h s f) / h s f)."""
        tilt = np.abs(strength * field * np.float64(self.scale))
        if self.prior == "gaussian":
            return np.square(tilt).sum(axis=1) / 2
        steep = np.maximum(tilt, _FLAT)
        return (steep + np.log(-np.expm1(-2 * steep) / (2 * steep))).sum(axis=1)

    def overlap(self, weights: np.ndarray, field: np.ndarray) -> np.ndarray:
        """w . f: (...)."""
        return weights.astype(np.float64) @ field.astype(np.float64)

    def moves(self, wanted):
        """``wanted`` moves, at least one: any number lets any state be met."""
        return np.maximum(wanted, 1)
