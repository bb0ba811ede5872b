"""Chains that go on where an earlier process stopped."""

import numpy as np

from volumetry.chains.contract import Chains
from volumetry.chains.records import (
    NO_TESTS,
    Advance,
    Draws,
    Population,
    Pull,
    Relaxed,
    Schedule,
    Tally,
    Walkers,
    Windows,
)
from volumetry.runtime.checkpoint import Arrays, Checkpoint


class RecordedChains:
    """``Chains`` whose every advance is a step of a checkpoint.

    A step that the checkpoint recalls is not made again: its record says what came of it. Weights
    of all walkers are kept for the last step only, which is all that the next one needs.

    Attributes:
        moves: made so far, those recalled included.
    """

    def __init__(self, chains: Chains, checkpoint: Checkpoint):
        self.system, self.sets, self.moves = chains.system, chains.sets, 0
        self._chains, self._checkpoint = chains, checkpoint
        self._behind = False

    def bytes_needed(self, windows: int) -> int:
        """As ``Chains.bytes_needed``."""
        return self._chains.bytes_needed(windows)

    def place(self, weights: np.ndarray, step: int = 0) -> Walkers:
        """As ``Chains.place``."""
        self._behind = False
        return self._chains.place(weights, step)

    def advance(
        self,
        walkers: Walkers,
        windows: Windows,
        rounds: int,
        moves: np.ndarray,
        tests: Schedule = NO_TESTS,
    ) -> Advance:
        """As ``Chains.advance``, or as the checkpoint recalls it."""
        self.moves += int(np.sum(moves)) * rounds * self.sets
        record = self._checkpoint.recall()
        if record is not None:
            self._behind = True
            return self._unpack(record, windows)
        if self._behind:
            self._chains.resume(walkers, self._checkpoint.state["positions"])
            self._behind = False
        found = self._chains.advance(walkers, windows, rounds, moves, tests)
        learning = bool(windows.ln_f.any())
        self._checkpoint.add(
            lambda: self._pack(found, learning), lambda: {"positions": self._chains.positions()}
        )
        return found

    def draw(self, groups: int, each: int) -> Draws:
        """As ``Chains.draw``, or as the checkpoint recalls it."""
        space, record = self.system.space, self._checkpoint.recall()
        if record is not None:
            return Draws(**record | {"last": space.decode(record["last"])})
        found = self._chains.draw(groups, each)
        self._checkpoint.add(
            lambda: found._asdict() | {"last": space.encode(found.last)},
            dict,
        )
        return found

    def populate(self, first: int, members: int) -> Population:
        """As ``Chains.populate``."""
        return self._chains.populate(first, members)

    def relax(
        self,
        population: Population,
        parents: np.ndarray,
        window: Windows,
        rounds: int,
        moves: int,
        groups: int,
        tests: Schedule = NO_TESTS,
        pull: Pull | None = None,
        keep: bool = False,
    ) -> Relaxed:
        """As ``Chains.relax``, or as the checkpoint recalls it.

        Of the weights of members, those of the last step alone are recalled, which are all that the
        next one needs: wrong ones after a step that others followed, unless it is one to ``keep``.
        """
        self.moves += rounds * moves * len(parents)
        record = self._checkpoint.recall()
        if record is not None:
            known = record if "codes" in record else self._checkpoint.state
            # A step of other kind that followed kept no codes, and then nobody needs these.
            codes = known.get("codes", population.codes)
            record.pop("codes", None)
            visits = np.zeros((groups, self.system.grid.size), np.int64)
            visits.flat[record.pop("visited")] = record["visits"]
            record["visits"] = visits
            after = population._replace(
                codes=codes,
                level=record.pop("level"),
                step=population.step + rounds * moves,
            )
            return Relaxed(after, **record)
        found = self._chains.relax(population, parents, window, rounds, moves, groups, tests, pull)
        counted = found._asdict() | {"level": found.population.level}
        del counted["population"]
        # Of two axes, few levels are visited at a time.
        counted["visited"] = np.flatnonzero(found.visits)
        counted["visits"] = found.visits.flat[counted["visited"]]
        if keep:
            counted["codes"] = found.population.codes
        self._checkpoint.add(lambda: counted, lambda: {"codes": found.population.codes})
        return found

    def positions(self) -> np.ndarray:
        """As ``Chains.positions``."""
        return self._chains.positions()

    def resume(self, walkers: Walkers, positions: np.ndarray) -> None:
        """As ``Chains.resume``."""
        self._chains.resume(walkers, positions)

    def _pack(self, found: Advance, learning: bool) -> Arrays:
        record = found.walkers._asdict() | found.tally._asdict()
        record["top"] = self.system.space.encode(found.top)
        return record | ({"log_weight": found.log_weight} if learning else {})

    def _unpack(self, record: Arrays, windows: Windows) -> Advance:
        log_weight = record.get("log_weight")
        if log_weight is None:
            log_weight = np.broadcast_to(windows.log_weight, (self.sets, *windows.log_weight.shape))
        return Advance(
            Walkers(*(record[field] for field in Walkers._fields)),
            Tally(*(record[field] for field in Tally._fields)),
            log_weight,
            self.system.space.decode(record["top"]),
        )
