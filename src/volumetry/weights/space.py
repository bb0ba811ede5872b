"""What a space of weights has to offer."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from volumetry.weights.moves import Kind, Segment


class WeightSpace(Protocol):
    """Where weights live, with the measure that volumes are fractions of.

    Attributes:
        size: M, the number of weights.
        dtype: of weights.
        encoding: how ``encode`` writes weights, in words.
        log_total: ln of the measure of the whole space, nats.
    """

    @property
    def size(self) -> int: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def encoding(self) -> str: ...

    @property
    def log_total(self) -> float: ...

    @property
    def code_bytes(self) -> int:
        """Bytes of weights that are encoded."""
        ...

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Weights drawn from the measure: (size,)."""
        ...

    def encode(self, weights: np.ndarray) -> np.ndarray:
        """Weights (..., size) as bytes (..., ?) for a file; nothing is lost."""
        ...

    def decode(self, code: np.ndarray) -> np.ndarray:
        """The weights that ``encode`` was given."""
        ...

    def toward(self, weights: np.ndarray) -> np.ndarray:
        """The field f towards weights (size,): (size,), of ``dtype``.

        In a field f of strength h, weights w are exp(h w . f) times as likely.
        """
        ...

    def draw_pulled(
        self, field: np.ndarray, strength: float, members: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Independent draws in each of some fields.

        Args:
            field: (fields, size), from ``toward``, with 0 where nothing pulls.

        Returns:
            (fields, members, size).
        """
        ...

    def log_mean_pull(self, field: np.ndarray, strength: float) -> np.ndarray:
        """ln of the mean of exp(h w . f) over the measure, of each field: (fields,), nats."""
        ...

    def overlap(self, weights: np.ndarray, field: np.ndarray) -> np.ndarray:
        """w . f of weights (..., size) and a field (size,): (...)."""
        ...

    def flips(self, wanted: int, default: int | None = None) -> int:
        """How many weights a move changes: ``wanted``, or fewer if that is the default.

        Raises:
            ConfigError: the space has too few weights, and ``wanted`` is not the default.
        """
        ...

    def kinds(self, segments: Sequence[Segment], flips: int) -> tuple[Kind, ...]:
        """The kinds of moves for weights in segments; the first may change any of them."""
        ...

    def moves(self, wanted):
        """About ``wanted`` moves (a number or an array), after which any state can be met."""
        ...
