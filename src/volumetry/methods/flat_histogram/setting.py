"""The setting of a run: what its stages share and none of them changes."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from volumetry.chains.devices import open_chains
from volumetry.chains.recorded import RecordedChains
from volumetry.methods.mixing import Proposals
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.memory import require
from volumetry.systems.classification import Classification
from volumetry.systems.grid import Grid

ROUNDS_A_SWEEP = 4
_LEAST_SWEEP = 300

Bounds = list[tuple[int, int]]
"""Lowest and highest coordinate of each window, inclusive, ascending."""


class States(NamedTuple):
    """Weights met on the way; state s was met by set s modulo the number of sets.

    Attributes:
        weights: (states, n_weights).
        levels: (states,).
    """

    weights: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True)
class Flat:
    """A run of flat-histogram sampling.

    A *sweep* is n_weights / flips moves of one walker, at least 300.

    Attributes:
        name: of the sampler, for logs and errors.
        chains: the walkers.
        base_weight: (levels,): ln weight that every ensemble of this run shares.
        flips: the most weights that a move flips.
        proposals: the kinds of moves.
    """

    name: str
    chains: RecordedChains
    base_weight: np.ndarray
    flips: int
    proposals: Proposals

    @property
    def grid(self) -> Grid:
        """The levels."""
        return self.chains.system.grid

    @property
    def sets(self) -> int:
        """Number of walker sets."""
        return self.chains.sets

    @cached_property
    def sweep(self) -> int:
        """Moves of a sweep."""
        return max(_LEAST_SWEEP, self.chains.system.space.size // self.flips)

    def moves(self, sweeps: float, rounds: int) -> int:
        """Moves of a round where ``rounds`` of them make so many sweeps."""
        return self.chains.system.space.moves(int(sweeps * self.sweep / rounds))

    def share(self, persistence: np.ndarray) -> np.ndarray:
        """Moves of a round in each window: a quarter sweep on average, more where it is slow.

        Args:
            persistence: (W,): moves until the coordinate is forgotten.
        """
        share = np.clip(persistence / persistence.mean(), 1 / 10, 10)
        moves = (share / share.mean() * self.sweep / ROUNDS_A_SWEEP).astype(np.int64)
        return self.chains.system.space.moves(moves)

    def marginal(self, log_p: np.ndarray) -> np.ndarray:
        """ln of the coordinate's probability under the base weight: (coordinates,)."""
        return self.grid.fold(log_p + self.base_weight)

    def window_weights(self, log_p: np.ndarray, bounds: Bounds) -> np.ndarray:
        """ln weights that make every coordinate of a window as likely: (W, levels).

        They are -inf outside. A coordinate between others that was never met is given what they
        suggest.
        """
        values = self.marginal(log_p)
        seen = np.flatnonzero(np.isfinite(values))
        flat = -np.interp(np.arange(self.grid.n_coordinates), seen, values[seen])
        weight = self.base_weight + flat[self.grid.coordinate]
        return np.where(self.grid.inside(bounds), weight, -np.inf)

    def check_memory(self, windows: int) -> None:
        """Refuse what would not fit, before it is allocated.

        Raises:
            MemoryShortage: too many walkers for the memory that is free.
        """
        require(
            self.chains.bytes_needed(windows),
            f"{self.name}: {self.sets * windows} walkers, "
            f"{self.sets} in each of {windows} windows,",
            f"lower samplers.{self.name}.walkers, raise samplers.{self.name}.window_cost, or give "
            "the job more memory",
        )


def open_run(
    name: str,
    system: Classification,
    parameters,
    seed: int,
    pool: Executor | None,
    *,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
    base_weight: np.ndarray | None = None,
) -> Flat:
    """The setting of a run that is about to start.

    Args:
        parameters: with ``flips`` and ``walkers``.
        pool: an executor; walker sets run side by side in it.
        device: cpu or cuda; nothing that follows depends on it.
        checkpoint: of an earlier process; nothing depends on it either.
        base_weight: (levels,); zero if not given.

    Raises:
        ConfigError: more ``flips`` than the space has weights for.
    """
    flips = system.space.flips(parameters.flips, type(parameters).flips)
    chains = open_chains(system, flips, parameters.walkers, seed, pool, device)
    recorded = RecordedChains(chains, checkpoint or Checkpoint())
    weight = np.zeros(system.grid.size) if base_weight is None else base_weight
    flat = Flat(name, recorded, weight, flips, Proposals.of(system, flips))
    flat.check_memory(1)
    return flat
