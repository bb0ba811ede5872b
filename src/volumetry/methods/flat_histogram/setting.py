"""The setting of a run with windows."""

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
import xarray as xr

from volumetry.methods.setting import Setting
from volumetry.runtime.memory import require
from volumetry.systems.system import System

ROUNDS_A_SWEEP = 4

Bounds = list[tuple[int, int]]
"""Lowest and highest coordinate of each window, inclusive, ascending."""


class States(NamedTuple):
    """Weights met on the way.

    Attributes:
        weights: (states, n_weights).
        levels: (states,).
        owner: (states,): the set that met it.
        from_above: bool (states,): whether that was on the way down from a trained network.
    """

    weights: np.ndarray
    levels: np.ndarray
    owner: np.ndarray
    from_above: np.ndarray

    @classmethod
    def in_turn(cls, weights: np.ndarray, levels: np.ndarray, sets: int) -> "States":
        """States of which the sets own one after the other."""
        return cls(weights, levels, np.arange(len(levels)) % sets, np.zeros(len(levels), bool))

    @classmethod
    def trained(cls, weights: np.ndarray, levels: np.ndarray, owner: np.ndarray) -> "States":
        """States on the way down from trained networks, those included."""
        return cls(weights, levels, owner, np.ones(len(levels), bool))

    def __add__(self, more: "States") -> "States":
        return States(*(np.concatenate(both) for both in zip(self, more)))

    def only(self, which: np.ndarray) -> "States":
        """Those that a mask or a slice picks."""
        return States(*(values[which] for values in self))


class Flat(Setting):
    """A run of flat-histogram sampling, with walkers in windows."""

    @property
    def sets(self) -> int:
        """Number of walker sets."""
        return self.chains.sets

    def share(self, persistence: np.ndarray) -> np.ndarray:
        """Moves of a round in each window: a quarter sweep on average, more where it is slow.

        Args:
            persistence: (W,): moves until the coordinate is forgotten.
        """
        share = np.clip(persistence / persistence.mean(), 1 / 10, 10)
        moves = (share / share.mean() * self.sweep / ROUNDS_A_SWEEP).astype(np.int64)
        return self.chains.system.space.moves(moves)

    def marginal(self, log_p: np.ndarray) -> np.ndarray:
        """ln of the coordinate's probability: (coordinates,)."""
        return self.grid.fold(log_p)

    def window_weights(self, log_p: np.ndarray, bounds: Bounds) -> np.ndarray:
        """ln weights that make every coordinate of a window as likely: (W, levels).

        They are -inf outside. A coordinate between others that was never met is given what they
        suggest.
        """
        values = self.marginal(log_p)
        seen = np.flatnonzero(np.isfinite(values))
        flat = -np.interp(np.arange(self.grid.n_coordinates), seen, values[seen])
        return np.where(self.grid.inside(bounds), flat[self.grid.coordinate], -np.inf)

    def describe(self, result: xr.Dataset, made: np.ndarray) -> xr.Dataset:
        """A result that also tells what moves were made: see ``Proposals.describe``."""
        return self.proposals.describe(result, made, self.chains.system.segments, self.sets)

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
    name: str, system: System, parameters, seed: int, pool: Executor | None, **given
) -> Flat:
    """The setting of a run that is about to start; arguments as for ``Setting.open``.

    Args:
        parameters: with ``flips`` and ``walkers``.
        given: ``device`` and ``checkpoint``.
    """
    flat = Flat.open(name, system, parameters, parameters.walkers, seed, pool, **given)
    flat.check_memory(1)
    return flat
