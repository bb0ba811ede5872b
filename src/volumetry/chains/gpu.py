"""The chains on a GPU: those of ``chains.cpu``, bit for bit.

All walker sets run side by side, one program for each replica. What they read and write stays on
the device, and a round is a few launches that the host only enqueues: the moves of every window,
the exchanges of every set, and the tests where there may be any. Results come back when all rounds
are made.

The kernels also run on the CPU, in Triton's interpreter (TRITON_INTERPRET=1), for tests.
"""

import numpy as np
import torch

from volumetry.chains.launches_gpu import OnDevice
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
    new_relaxed,
    new_tally,
    new_walkers,
    of_set,
)
from volumetry.engines.evaluator_gpu import LARGEST_FLIPS
from volumetry.errors import ConfigError
from volumetry.kernels.philox import draw_weights
from volumetry.kernels.streams import DRAWS, MEMBERS, stream
from volumetry.systems.classification import Classification


class GpuChains:
    """``Chains`` in Triton kernels.

    Attributes:
        on: the device, with the walkers.
    """

    def __init__(
        self,
        system: Classification,
        flips: int,
        sets: int,
        seed: int,
        *,
        device: str = "cuda",
        warps: int | None = None,
        block: int | None = None,
    ) -> None:
        """Copy the examples to the device; arguments as for ``open_chains``, and:

        Args:
            device: as torch names it.
            warps, block: by default as many as keep the sums of a block in registers.

        Raises:
            ConfigError: more flips than the kernels are written for.
        """
        if flips > LARGEST_FLIPS:
            raise ConfigError(
                f"flips = {flips}: at most {LARGEST_FLIPS} on a GPU; lower it, or set device to cpu"
            )
        self.system, self.sets, self._flips = system, sets, flips
        self._draw_seed = np.uint64(seed)
        self.on = OnDevice(system, seed, device, warps, block)

    def bytes_needed(self, windows: int) -> int:
        """None of this machine's memory: walkers are on the device."""
        return 0

    def place(self, weights: np.ndarray, step: int = 0) -> Walkers:
        """Put a walker into every window; weights int8 (R, W, n_weights)."""
        walkers = new_walkers(self.sets, weights.shape[1], step)
        walkers.level[:] = self.on.start(weights)
        return walkers

    def resume(self, walkers: Walkers, positions: np.ndarray) -> None:
        """Go on from walkers whose weights ``positions`` told."""
        self.on.start(self.system.space.decode(positions))

    def positions(self) -> np.ndarray:
        """The weights of all walkers, packed."""
        return self.system.space.encode(self.on.weights.cpu().numpy())

    def advance(
        self,
        walkers: Walkers,
        windows: Windows,
        rounds: int,
        moves: np.ndarray,
        tests: Schedule = NO_TESTS,
    ) -> Advance:
        """Make rounds; see ``Chains.advance``."""
        walkers, tally, log_weight = self._make(walkers, windows, rounds, moves, tests)
        replica = torch.from_numpy(walkers.replica[:, -1]).to(self.on.device)
        top = self.on.weights[torch.arange(self.sets, device=self.on.device), replica]
        return Advance(walkers, tally, log_weight, top.cpu().numpy())

    def draw(self, groups: int, each: int) -> Draws:
        """Draw weights independently; see ``Chains.draw``."""
        visits, tests, test_sum = np.zeros((3, groups, self.system.grid.size), np.int64)
        weights = np.empty((each, self.system.space.size), np.int8)
        last = []
        for group in range(groups):
            for number, row in enumerate(weights, group * each):
                draw_weights(self._draw_seed, stream(DRAWS, 0), number, row)
            rows = torch.from_numpy(weights).to(self.on.device)
            correct = self.on.evaluate(self.on.train, rows).cpu().numpy()
            score = self.on.evaluate(self.on.test, rows).cpu().numpy()
            level = self.system.level(correct, score if self.system.levels.bins > 1 else 0)
            np.add.at(visits[group], level, 1)
            np.add.at(tests[group], level, 1)
            np.add.at(test_sum[group], level, score)
            if (group + 1) % (groups // self.sets) == 0:
                last.append(weights[-1].copy())
        return Draws(visits, tests, test_sum, np.array(last))

    def populate(self, first: int, members: int) -> Population:
        """Draw a population; see ``Chains.populate``."""
        weights = np.empty((members, self.system.space.size), np.int8)
        for number, row in enumerate(weights, first):
            draw_weights(self._draw_seed, stream(DRAWS, 1), number, row)
        level = np.empty(members, np.int64)
        for part in self.on.parts(members):
            level[part] = self.on.start(weights[part, None])[:, 0]
        return Population(self.system.space.encode(weights), level, first, 0)

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
    ) -> Relaxed:
        """Relax a population; see ``Chains.relax``. Each member is a walker set of one window."""
        space, size = self.system.space, self.system.grid.size
        window = window.mixed(space, self._flips)
        relaxed = new_relaxed(
            population,
            groups,
            size,
            self.system.largest_score,
            rounds,
            moves,
            len(window.mixture.kinds),
        )
        for part in self.on.parts(len(parents)):
            walkers = new_walkers(part.stop - part.start, 1, population.step)
            walkers.level[:] = self.on.start(space.decode(population.codes[parents[part]])[:, None])
            place = MEMBERS + population.first + part.start
            pulls = None
            if pull is not None:
                members = range(part.start, part.stop)
                toward = np.array([pull.of_member(r, len(parents)) for r in members], np.int8)
                pulls = Pull(toward, np.array([pull.strength], np.float64))
            walkers, tally, _ = self._make(walkers, window, rounds, moves, tests, place, pulls)
            for r, code in enumerate(self.positions()[:, 0]):
                member = part.start + r
                own = of_set(tally, r)
                only = slice(member, member + 1)
                relaxed.enter(only, code[None], walkers.level[r], own.trace, own)
                if pull is not None:
                    toward = pull.of_member(member, len(parents))
                    relaxed.overlap[member] = space.overlap(space.decode(code), toward)
        return relaxed

    def _make(
        self,
        walkers: Walkers,
        windows: Windows,
        rounds: int,
        moves,
        tests: Schedule,
        place: int = 0,
        pull: Pull | None = None,
    ) -> tuple[Walkers, Tally, np.ndarray]:
        """Make rounds; the walkers, what was counted, and the weights of all sets.

        Args:
            place, pull: as for ``OnDevice.enqueue``.
        """
        grid, (sets, count) = self.system.grid, walkers.level.shape
        windows = windows.mixed(self.system.space, self._flips)
        kinds = len(windows.mixture.kinds)
        tally = new_tally(sets, count, grid.size, self.system.largest_score, rounds, kinds)
        there, counted = (_to_device(record, self.on.device) for record in (walkers, tally))
        given = _of_sets(windows, sets, self.on.device)
        moves = np.array(np.broadcast_to(moves, count), np.int64)
        test_low = tests.lowest(grid.size)
        few = tuple(np.unique(windows.mixture.kinds[:, 2]).tolist())
        pull = pull and _to_device(pull, self.on.device)
        self.on.enqueue(there, given, counted, few, place, moves, test_low, tests.every, pull)
        walkers = Walkers(*(values.cpu().numpy() for values in there))
        tally = Tally(*(values.cpu().numpy() for values in counted))
        return walkers, tally, given.log_weight.cpu().numpy()


def _of_sets(windows: Windows, sets: int, device: str) -> Windows:
    """Windows on the device, a copy for each set; of their mixture, one for all sets."""
    *own, mixture = windows
    copies = (np.broadcast_to(array, (sets, *array.shape)) for array in own)
    return Windows(*(_tensor(array, device) for array in copies), _to_device(mixture, device))


def _to_device(record, device: str):
    """A record of arrays as one of tensors."""
    return type(record)(*(_tensor(array, device) for array in record))


def _tensor(array: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C")).to(device)
