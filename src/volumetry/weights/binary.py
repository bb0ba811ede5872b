"""Weights in {-1, +1} with the uniform measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volumetry.parameters import adapted
from volumetry.weights.moves import Kind, Segment, everything


@dataclass(frozen=True)
class BinaryWeights:
    """The corners of a cube: int8 arrays whose last axis is the weight, each -1 or +1.

    A move flips an odd number of weights, and a walker makes an odd number of moves between two
    looks at it: an even number would never change the parity of the number of weights -1.

    Attributes:
        size: M, the number of weights.
    """

    size: int

    dtype = np.dtype(np.int8)
    encoding = "one bit a weight, 1 for +1 (numpy.packbits)"

    @property
    def log_total(self) -> float:
        """ln of the number of weight settings, 2^M, nats."""
        return float(self.size * np.log(2))

    @property
    def code_bytes(self) -> int:
        """Bytes of weights that are encoded."""
        return -(-self.size // 8)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Uniform weights: int8, shape (size,)."""
        return (2 * rng.integers(0, 2, self.size, dtype=np.int8) - 1).astype(np.int8)

    def encode(self, weights) -> np.ndarray:
        """One bit a weight, 1 for +1: ``np.packbits`` along the last axis of (..., size)."""
        return np.packbits(np.asarray(weights) > 0, axis=-1)

    def decode(self, code: np.ndarray) -> np.ndarray:
        """Weights, int8 (..., size), from what ``encode`` made of them."""
        return 2 * np.unpackbits(code, axis=-1, count=self.size).astype(np.int8) - 1

    def flips(self, wanted: int, default: int | None = None) -> int:
        """The odd number of weights that a move flips; a default is as many as there can be.

        To flip all weights would only lead to and fro.

        Raises:
            ConfigError: too many, and not the default.
        """
        most = max(1, self.size - 1)
        rule = f"odd and below the number of weights, {self.size}"
        return adapted("flips", wanted, default, most - 1 + most % 2, rule)

    def kinds(self, segments: Sequence[Segment], flips: int) -> tuple[Kind, ...]:
        """Flips of any weights; of the largest segment, by one or several; of others, by one."""
        largest = max(segments, key=lambda segment: segment.size)
        several = [Kind(largest, flips)] if 1 < flips <= largest.size else []
        wanted = [
            Kind(everything(self.size), flips),
            *several,
            *(Kind(segment, 1) for segment in segments),
        ]
        return tuple(dict.fromkeys(wanted))

    def toward(self, weights: np.ndarray) -> np.ndarray:
        """The weights themselves."""
        return weights

    def draw_pulled(
        self, field: np.ndarray, strength: float, members: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Independent draws in each of some fields of -1, 0, +1: int8 (fields, members, size)."""
        likely = 1 / (1 + np.exp(-2 * strength * field))
        draws = rng.random((len(field), members, self.size)) < likely[:, None]
        return np.where(draws, 1, -1).astype(np.int8)

    def log_mean_pull(self, field: np.ndarray, strength: float) -> np.ndarray:
        """ln of the mean of exp(h w . f): ln cosh h for each weight that is pulled, nats."""
        return np.abs(field).sum(axis=1) * np.log(np.cosh(strength))

    def overlap(self, weights: np.ndarray, field: np.ndarray) -> np.ndarray:
        """w . f: (...)."""
        return weights @ field.astype(np.int64)

    def moves(self, wanted):
        """``wanted`` moves, or one more, so that their number is odd."""
        return wanted | 1
