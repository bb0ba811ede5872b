"""The setting of a run that moves weights: what its stages share and none of them changes."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from volumetry.chains.devices import open_chains
from volumetry.chains.recorded import RecordedChains
from volumetry.chains.records import Mixture, Windows
from volumetry.methods.mixing import Proposals
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.systems.grid import Grid
from volumetry.systems.system import System

LARGEST_BETA = 40.0
"""Where an anneal ends at the latest."""

_LEAST_SWEEP = 300


@dataclass(frozen=True)
class Setting:
    """A run that moves weights.

    A *sweep* is n_weights / flips moves of one walker, at least 300.

    Attributes:
        name: of the sampler, for logs and errors.
        chains: the walkers.
        flips: the most weights that a move flips.
        proposals: the kinds of moves.
    """

    name: str
    chains: RecordedChains
    flips: int
    proposals: Proposals

    @property
    def grid(self) -> Grid:
        """The levels."""
        return self.chains.system.grid

    @cached_property
    def sweep(self) -> int:
        """Moves of a sweep."""
        return max(_LEAST_SWEEP, self.chains.system.space.size // self.flips)

    def moves(self, sweeps: float, rounds: int) -> int:
        """Moves of a round where ``rounds`` of them make so many sweeps."""
        return self.chains.system.space.moves(int(sweeps * self.sweep / rounds))

    def canonical(self, beta: float, mixture: Mixture, along: np.ndarray | None = None) -> Windows:
        """A single window over all levels, with weights exp(beta x).

        Args:
            along: (levels,): x; the coordinate if not given.
        """
        weight = beta * (self.grid.coordinate if along is None else along)
        return Windows.fixed(weight[None, :], np.zeros(1, np.int64), mixture)

    @classmethod
    def open(
        cls,
        name: str,
        system: System,
        parameters,
        sets: int,
        seed: int,
        pool: Executor | None,
        *,
        device: str = "cpu",
        checkpoint: Checkpoint | None = None,
    ) -> Self:
        """The setting of a run that is about to start.

        Args:
            parameters: with ``flips``.
            sets: walker sets.
            pool: an executor, in which walkers move side by side.
            device: cpu or cuda; nothing that follows depends on it.
            checkpoint: of an earlier process; nothing depends on it either.

        Raises:
            ConfigError: more ``flips`` than the space has weights for.
        """
        flips = system.space.flips(parameters.flips, type(parameters).flips)
        chains = open_chains(system, flips, sets, seed, pool, device)
        recorded = RecordedChains(chains, checkpoint or Checkpoint())
        return cls(name, recorded, flips, Proposals.of(system, flips))
