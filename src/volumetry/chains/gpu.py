"""The chains on a GPU: those of ``chains.cpu``, bit for bit.

All walker sets run side by side, one program for each replica. What they read and write stays on
the device, and a round is a few launches that the host only enqueues: the moves of every window,
the exchanges of every set, and the tests where there may be any. Results come back when all rounds
are made.

The kernels also run on the CPU, in Triton's interpreter (TRITON_INTERPRET=1), for tests.
"""

import numpy as np
import torch
import triton

from volumetry.chains.records import (
    NO_TESTS,
    Advance,
    Draws,
    Population,
    Relaxed,
    Schedule,
    Tally,
    Walkers,
    Windows,
    new_relaxed,
    new_tally,
    new_walkers,
)
from volumetry.chains.rounds_gpu import evaluate_all, exchange, run_windows, tally_tests
from volumetry.engines.evaluator_gpu import LARGEST_FLIPS
from volumetry.engines.layout_gpu import Examples, layout, make_examples, make_states
from volumetry.errors import ConfigError
from volumetry.kernels.philox import LOG_TABLE, draw_weights
from volumetry.kernels.streams import DRAWS, MEMBERS, stream
from volumetry.systems.classification import Classification


class GpuChains:
    """``Chains`` in Triton kernels.

    Attributes:
        block: examples that a program looks at together.
        warps: of 32 threads, that a program has.
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
        problem = system.problem
        self.system, self.sets = system, sets
        self._network, self._levels = problem.network, system.levels
        self._flips, self._device = flips, device
        self.train = make_examples(self._network, problem.x_train, problem.y_train, device)
        self.test = make_examples(self._network, problem.x_test, problem.y_test, device)
        self.warps, self.block = _shape_of_program(self._network, self.train.width, warps, block)
        self._layout = layout(self._network)
        self._table = torch.from_numpy(LOG_TABLE).to(device)
        self._seed = torch.tensor([seed], dtype=torch.uint64).view(torch.int64).to(device)
        self._draw_seed = np.uint64(seed)
        on_gpu = torch.device(device).type == "cuda"
        units = torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else 1
        # Each program of a full evaluation has scratch memory of its own.
        self._programs = 8 * units
        self._scratch = make_states(self._network, self._programs, self.block, device)
        self._values = self._test_values = None
        self._weights = torch.empty(sets, 0, self._network.n_weights, dtype=torch.int8)

    def bytes_needed(self, windows: int) -> int:
        """None of this machine's memory: walkers are on the device."""
        return 0

    def place(self, weights: np.ndarray, step: int = 0) -> Walkers:
        """Put a walker into every window; weights int8 (R, W, n_weights)."""
        walkers = new_walkers(self.sets, weights.shape[1], step)
        walkers.level[:] = self._start(weights)
        return walkers

    def resume(self, walkers: Walkers, positions: np.ndarray) -> None:
        """Go on from walkers whose weights ``positions`` told."""
        self._start(self.system.space.decode(positions))

    def positions(self) -> np.ndarray:
        """The weights of all walkers, packed."""
        return self.system.space.encode(self._weights.cpu().numpy())

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
        replica = torch.from_numpy(walkers.replica[:, -1]).to(self._device)
        top = self._weights[torch.arange(self.sets, device=self._device), replica]
        return Advance(walkers, tally, log_weight, top.cpu().numpy())

    def draw(self, groups: int, each: int) -> Draws:
        """Draw weights independently; see ``Chains.draw``."""
        visits, tests, test_sum = np.zeros((3, groups, self.system.grid.size), np.int64)
        weights = np.empty((each, self._network.n_weights), np.int8)
        last = []
        for group in range(groups):
            for number, row in enumerate(weights, group * each):
                draw_weights(self._draw_seed, stream(DRAWS, 0), number, row)
            rows = torch.from_numpy(weights).to(self._device)
            correct = self._evaluate(self.train, rows).cpu().numpy()
            score = self._evaluate(self.test, rows).cpu().numpy()
            level = self.system.level(correct, score if self._levels.bins > 1 else 0)
            np.add.at(visits[group], level, 1)
            np.add.at(tests[group], level, 1)
            np.add.at(test_sum[group], level, score)
            if (group + 1) % (groups // self.sets) == 0:
                last.append(weights[-1].copy())
        return Draws(visits, tests, test_sum, np.array(last))

    def populate(self, first: int, members: int) -> Population:
        """Draw a population; see ``Chains.populate``."""
        weights = np.empty((members, self._network.n_weights), np.int8)
        for number, row in enumerate(weights, first):
            draw_weights(self._draw_seed, stream(DRAWS, 1), number, row)
        level = np.empty(members, np.int64)
        for part in self._parts(members):
            level[part] = self._start(weights[part, None])[:, 0]
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
    ) -> Relaxed:
        """Relax a population; see ``Chains.relax``. Each member is a walker set of one window."""
        space, size = self.system.space, self.system.grid.size
        window = window.mixed(space.size, self._flips)
        relaxed = new_relaxed(
            population, groups, size, self.system.largest_score, rounds, len(window.mixture.kinds)
        )
        for part in self._parts(len(parents)):
            walkers = new_walkers(part.stop - part.start, 1, population.step)
            walkers.level[:] = self._start(space.decode(population.codes[parents[part]])[:, None])
            place = MEMBERS + population.first + part.start
            walkers, tally, _ = self._make(walkers, window, rounds, moves, tests, place)
            for r, code in enumerate(self.positions()[:, 0]):
                of_member = Tally(*(values[r] for values in tally))
                relaxed.enter(part.start + r, code, walkers.level[r, 0], of_member)
        after = population.step + rounds * moves
        return relaxed._replace(population=relaxed.population._replace(step=after))

    def _parts(self, members: int) -> list[slice]:
        """As many members at a time as fit into half of the device's free memory."""
        most = members
        if torch.device(self._device).type == "cuda":
            self._values = self._test_values = None
            free, _ = torch.cuda.mem_get_info(self._device)
            tests = 8 * (self.system.largest_score + 1)
            most = max(1, free // 2 // (self.system.walker_bytes() + tests))
        return [slice(r, min(r + most, members)) for r in range(0, members, most)]

    def _make(
        self,
        walkers: Walkers,
        windows: Windows,
        rounds: int,
        moves,
        tests: Schedule,
        place: int = 0,
    ) -> tuple[Walkers, Tally, np.ndarray]:
        """Make rounds; the walkers, what was counted, and the weights of all sets.

        Args:
            place: that streams of moves give to the first window of the first set.
        """
        grid, (sets, count) = self.system.grid, walkers.level.shape
        windows = windows.mixed(self.system.space.size, self._flips)
        kinds = len(windows.mixture.kinds)
        tally = new_tally(sets, count, grid.size, self.system.largest_score, rounds, kinds)
        there, given = self._to_device(walkers), self._of_sets(windows, sets)
        counted = self._to_device(tally)
        moves = np.array(np.broadcast_to(moves, count), np.int64)
        test_low = grid.size if tests.low is None else tests.low
        few = tuple(np.unique(windows.mixture.kinds[:, 2]).tolist())
        self._enqueue(there, given, counted, few, place, moves, test_low, tests.every)
        walkers = Walkers(*(values.cpu().numpy() for values in there))
        tally = Tally(*(values.cpu().numpy() for values in counted))
        return walkers, tally, given.log_weight.cpu().numpy()

    def _start(self, weights: np.ndarray) -> np.ndarray:
        """Compute all values of every replica from its weights; their levels (R, W)."""
        count, binned = weights.shape[0] * weights.shape[1], self._levels.bins > 1
        if self._values is None or self._weights.shape != weights.shape:
            self._values = self._test_values = None  # free them first
            self._values = make_states(self._network, count, self.train.width, self._device)
            if binned:
                self._test_values = make_states(self._network, count, self.test.width, self._device)
        self._weights = torch.from_numpy(np.array(weights, np.int8)).to(self._device)
        correct = self._evaluate(self.train, self._weights, self._values).cpu().numpy()
        score = 0
        if binned:
            score = self._evaluate(self.test, self._weights, self._test_values).cpu().numpy()
        return self.system.level(correct, score).reshape(weights.shape[:2])

    def _of_sets(self, windows: Windows, sets: int) -> Windows:
        """Windows on the device, a copy for each set; of their mixture, one for all sets."""
        *own, mixture = windows
        copies = (np.broadcast_to(array, (sets, *array.shape)) for array in own)
        return Windows(*map(self._tensor, copies), self._to_device(mixture))

    def _to_device(self, record):
        """A record of arrays as one of tensors."""
        return type(record)(*map(self._tensor, record))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array, order="C")).to(self._device)

    def _enqueue(self, walkers, windows, tally, flips, place, moves, test_low, test_every) -> None:
        """Launch all rounds.

        Args:
            flips: the numbers of flips that kinds of moves have.
            place: as for ``_make``.
            moves: and what follows, as for ``cpu.run_rounds``.
        """
        count, n_windows, rounds = tally.trace.shape
        n_levels = tally.visits.shape[2]
        moves = torch.from_numpy(moves).to(self._device)
        chosen = torch.zeros(count * n_windows, dtype=torch.int32, device=self._device)
        hits = torch.zeros(count * n_windows, dtype=torch.int32, device=self._device)
        binned = self._levels.bins > 1
        lanes = triton.next_power_of_2(n_windows)
        for turn in range(rounds):
            run_windows[(count * n_windows,)](
                self.train,
                self._values,
                self.test if binned else self.train,
                self._test_values if binned else self._values,
                self._weights,
                walkers,
                windows,
                tally,
                moves,
                self._table,
                self._seed,
                place,
                n_windows,
                n_levels,
                LEVELS=tuple(self._levels),
                NET=self._layout,
                MIXED=len(windows.mixture.kinds),
                FLIPS=flips,
                BLOCK=self.block,
                num_warps=self.warps,
                enable_fp_fusion=False,
            )
            exchange[(count,)](
                walkers,
                windows,
                tally,
                chosen,
                hits,
                self._table,
                self._seed,
                n_windows,
                n_levels,
                turn,
                rounds,
                int(test_low),
                int(test_every),
                LANES=lanes,
                num_warps=1,
                enable_fp_fusion=False,
            )
            if test_low < n_levels or test_every > 0:
                weights = self._weights.reshape(count * n_windows, -1)
                self._launch(self.test, weights, self._scratch, chosen, hits, False)
                tally_tests[(count,)](
                    walkers,
                    tally,
                    chosen,
                    hits,
                    n_windows,
                    n_levels,
                    self.test.n,
                    LANES=lanes,
                    num_warps=1,
                )

    def _evaluate(self, examples: Examples, weights, values=None):
        """Correct examples of each row of weights (..., n_weights); int32 tensor.

        Args:
            values: where all values are to go, of each row; by default nowhere.
        """
        weights = weights.reshape(-1, weights.shape[-1])
        chosen = torch.arange(len(weights), dtype=torch.int32, device=self._device)
        correct = torch.zeros_like(chosen)
        keep = values is not None
        if keep:
            values.map_side.zero_()
            values.sum_side.zero_()
        values = values if keep else self._scratch
        self._launch(examples, weights, values, chosen, correct, keep)
        return correct

    def _launch(self, examples, weights, values, chosen, correct, keep) -> None:
        evaluate_all[(self._programs,)](
            examples,
            values,
            weights,
            chosen,
            correct,
            len(chosen),
            KEEP=keep,
            NET=self._layout,
            BLOCK=self.block,
            num_warps=self.warps,
        )


def _shape_of_program(network, width, warps, block) -> tuple[int, int]:
    """Warps and examples: the sums of all classes take 64 registers of each thread."""
    each = max(32, 128 * 16 // max(16, triton.next_power_of_2(network.n_classes)))
    if warps is None:
        warps = min(4, triton.next_power_of_2(-(-width // each)))
    return warps, block or each * warps
