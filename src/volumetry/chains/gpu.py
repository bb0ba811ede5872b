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
import triton.language as tl

from volumetry.chains.cpu import DRAWS, EXCHANGE, MOVES
from volumetry.chains.records import (
    NO_TESTS,
    Advance,
    Draws,
    Schedule,
    Tally,
    Walkers,
    Windows,
    new_tally,
    new_walkers,
)
from volumetry.engines.evaluator_gpu import LARGEST_FLIPS, commit, evaluate, initialise_block
from volumetry.engines.layout_gpu import (
    Examples,
    layout,
    make_examples,
    make_states,
    n_weights,
    state_of,
)
from volumetry.errors import ConfigError
from volumetry.kernels.philox import LOG_TABLE, draw_weights
from volumetry.kernels.philox_gpu import log_uniform, words
from volumetry.systems.classification import Classification
from volumetry.weights.flips_gpu import draw_flips, flip

_EXCHANGE, _MOVES = tl.constexpr(EXCHANGE), tl.constexpr(MOVES)


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
        grid, count = self.system.grid, len(windows.low)
        tally = new_tally(self.sets, count, grid.size, self.system.largest_score, rounds)
        of_sets = (np.broadcast_to(array, (self.sets, *array.shape)) for array in windows)
        on_device = self._to_device(walkers), self._to_device(Windows(*of_sets))
        counted = self._to_device(tally)
        moves = np.array(np.broadcast_to(moves, count), np.int64)
        test_low = grid.size if tests.low is None else tests.low
        self._enqueue(*on_device, counted, moves, test_low, tests.every)
        walkers = Walkers(*(values.cpu().numpy() for values in on_device[0]))
        tally = Tally(*(values.cpu().numpy() for values in counted))
        replica = torch.from_numpy(walkers.replica[:, -1]).to(self._device)
        top = self._weights[torch.arange(self.sets, device=self._device), replica]
        log_weight = on_device[1].log_weight.cpu().numpy()
        return Advance(walkers, tally, log_weight, top.cpu().numpy())

    def draw(self, groups: int, each: int) -> Draws:
        """Draw weights independently; see ``Chains.draw``."""
        visits, tests, test_sum = np.zeros((3, groups, self.system.grid.size), np.int64)
        weights = np.empty((each, self._network.n_weights), np.int8)
        last = []
        for group in range(groups):
            for number, row in enumerate(weights, group * each):
                draw_weights(self._draw_seed, DRAWS, number, row)
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

    def _start(self, weights: np.ndarray) -> np.ndarray:
        """Compute all values of every replica from its weights; their levels (R, W)."""
        count, binned = weights.shape[0] * weights.shape[1], self._levels.bins > 1
        if self._weights.shape[1] != weights.shape[1]:
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

    def _to_device(self, record):
        """A record of arrays as one of tensors."""
        return type(record)(
            *(torch.from_numpy(np.array(a, order="C")).to(self._device) for a in record)
        )

    def _enqueue(self, walkers, windows, tally, moves, test_low, test_every) -> None:
        """Launch all rounds; ``moves`` and what follows as for ``cpu.run_rounds``."""
        count, n_windows, rounds = tally.trace.shape
        n_levels = tally.visits.shape[2]
        moves = torch.from_numpy(moves).to(self._device)
        chosen = torch.zeros(count * n_windows, dtype=torch.int32, device=self._device)
        hits = torch.zeros(count * n_windows, dtype=torch.int32, device=self._device)
        binned = self._levels.bins > 1
        lanes = triton.next_power_of_2(n_windows)
        for turn in range(rounds):
            _run_windows[(count * n_windows,)](
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
                n_windows,
                n_levels,
                LEVELS=tuple(self._levels),
                NET=self._layout,
                M=self._flips,
                BLOCK=self.block,
                num_warps=self.warps,
                enable_fp_fusion=False,
            )
            _exchange[(count,)](
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
                _tally_tests[(count,)](
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
        _evaluate_all[(self._programs,)](
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


@triton.jit(do_not_specialize=["n_windows", "n_levels"])
def _run_windows(
    examples,
    values,
    test_examples,
    test_values,
    weights,
    walkers,
    windows,
    tally,
    moves,
    table,
    seed,
    n_windows,
    n_levels,
    LEVELS: tl.constexpr,
    NET: tl.constexpr,
    M: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The moves of one round: a program for each window of each set, set by set."""
    BASE: tl.constexpr = LEVELS[0]
    BINS: tl.constexpr = LEVELS[1]
    BIN: tl.constexpr = LEVELS[2]
    place = tl.program_id(0)
    walker_set = place // n_windows
    w = place % n_windows
    walker = walker_set * n_windows + tl.load(walkers.replica + place).to(tl.int32)
    size = tl.full((), n_weights(NET), tl.int32)
    weights += walker.to(tl.int64) * size
    values = state_of(values, walker, 0, NET)
    test_values = state_of(test_values, walker, 0, NET)
    log_weight = windows.log_weight + place.to(tl.int64) * n_levels
    visits = tally.visits + place.to(tl.int64) * n_levels
    changes = tally.changes + place.to(tl.int64) * n_levels
    low = tl.load(windows.low + place).to(tl.int32)
    ln_f = tl.load(windows.ln_f + place)
    interval = tl.load(windows.interval + place)
    seed = tl.load(seed)
    stream = _MOVES + 4 * place  # place = window + windows * set
    level = tl.load(walkers.level + walker).to(tl.int32)
    counter = walkers.step + walker_set * (1 + n_windows) + 1 + w
    first = tl.load(counter)
    last = first + tl.load(moves + w)
    accepted = 0
    for step in range(first, last):
        flips, word = draw_flips(seed, stream, step, size, M)
        least = low if BINS == 1 else BASE
        correct = evaluate(examples, values, weights, flips, least, NET, M, BLOCK)
        accept = correct >= least
        proposed = tl.where(accept, correct - BASE, level)
        if BINS > 1:
            if accept:
                fewest = low * BIN
                hits = evaluate(test_examples, test_values, weights, flips, fewest, NET, M, BLOCK)
                accept = hits >= fewest
                proposed = tl.where(accept, proposed * BINS + hits // BIN, level)
        if proposed != level:
            change = tl.load(log_weight + proposed) - tl.load(log_weight + level)
            accept = (change >= 0) | (log_uniform(word, table) < change)
            if accept:
                tl.atomic_add(changes + level, 1, sem="relaxed")
                level = proposed
        # Nobody reads any more what follows overwrites.
        tl.debug_barrier()
        if accept:
            commit(values, flips, NET, M)
            if BINS > 1:
                commit(test_values, flips, NET, M)
            flip(weights, flips, M)
            accepted += 1
        tl.atomic_add(visits + level, 1, sem="relaxed")
        if ln_f > 0:
            if step % interval == 0:
                tl.store(log_weight + level, tl.load(log_weight + level) - ln_f)
        tl.debug_barrier()
    tl.store(counter, last)
    tl.store(walkers.level + walker, level)
    tl.atomic_add(tally.accepted + place, accepted, sem="relaxed")


@triton.jit(do_not_specialize=["n_windows", "n_levels", "turn", "rounds", "test_low", "test_every"])
def _exchange(
    walkers,
    windows,
    tally,
    chosen,
    hits,
    table,
    seed,
    n_windows,
    n_levels,
    turn,
    rounds,
    test_low,
    test_every,
    LANES: tl.constexpr,
):
    """End a round: a program for each set exchanges, counts round trips, and chooses what to test.

    ``chosen`` gets the walkers to be tested, by window, and -1 for the others; ``hits`` is zeroed.
    """
    walker_set = tl.program_id(0)
    place0 = walker_set * n_windows
    seed = tl.load(seed)
    step = walkers.step + walker_set * (1 + n_windows)
    number = tl.load(step)
    for w in range((number % 2).to(tl.int32), n_windows - 1, 2):
        place = place0 + w
        a = tl.load(walkers.replica + place)
        b = tl.load(walkers.replica + place + 1)
        x = tl.load(walkers.level + place0 + a)
        y = tl.load(walkers.level + place0 + b)
        lower = windows.log_weight + place.to(tl.int64) * n_levels
        upper = lower + n_levels
        change = tl.load(lower + y) + tl.load(upper + x) - tl.load(lower + x) - tl.load(upper + y)
        word, _, _, _ = words(seed, _EXCHANGE + 4 * place, number, 0)
        tl.atomic_add(tally.attempts + place, 1, sem="relaxed")
        if (change >= 0) | (log_uniform(word, table) < change):
            tl.store(walkers.replica + place, b)
            tl.store(walkers.replica + place + 1, a)
            tl.atomic_add(tally.exchanges + place, 1, sem="relaxed")
    tl.debug_barrier()
    if n_windows > 1:
        bottom = place0 + tl.load(walkers.replica + place0)
        top = place0 + tl.load(walkers.replica + place0 + n_windows - 1)
        if tl.load(walkers.heading + bottom) == 1:
            tl.atomic_add(tally.round_trips + bottom, 1, sem="relaxed")
        if tl.load(walkers.heading + top) == -1:
            tl.store(walkers.heading + top, 1)
        tl.store(walkers.heading + bottom, -1)
    w = tl.arange(0, LANES)
    inside = w < n_windows
    walker = place0 + tl.load(walkers.replica + place0 + w, inside, 0).to(tl.int32)
    level = tl.load(walkers.level + walker, inside, 0).to(tl.int32)
    tl.store(tally.trace + (place0 + w).to(tl.int64) * rounds + turn, level, inside)
    everywhere = number < 0
    if test_every > 0:
        everywhere = number % test_every == test_every - 1
    wanted = (level >= test_low) | everywhere
    tl.store(chosen + place0 + w, tl.where(wanted, walker, -1), inside)
    tl.store(hits + place0 + w, 0, inside)
    tl.store(step, number + 1)


@triton.jit(do_not_specialize=["count"])
def _evaluate_all(
    examples,
    values,
    weights,
    chosen,
    correct,
    count,
    KEEP: tl.constexpr,
    NET: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add to ``correct`` the examples that each of the chosen rows of weights gets right.

    Blocks of examples are shared among the programs. With ``KEEP`` the values are kept, under the
    number of the row; otherwise ``values`` is scratch memory, a block for each program.
    """
    program = tl.program_id(0)
    blocks = tl.cdiv(examples.width, BLOCK)
    for item in range(program, count * blocks, tl.num_programs(0)):
        row = tl.load(chosen + item // blocks)
        if row >= 0:
            start = item % blocks * BLOCK
            own = state_of(values, row if KEEP else program, 0 if KEEP else start, NET)
            e = start + tl.arange(0, BLOCK)
            weight = weights + row.to(tl.int64) * n_weights(NET)
            right = initialise_block(examples, own, weight, e, NET, BLOCK)
            tl.atomic_add(correct + item // blocks, right, sem="relaxed")


@triton.jit(do_not_specialize=["n_windows", "n_levels", "n_test"])
def _tally_tests(walkers, tally, chosen, hits, n_windows, n_levels, n_test, LANES: tl.constexpr):
    """Count the tests of a round: a program for each set."""
    walker_set = tl.program_id(0)
    w = tl.arange(0, LANES)
    inside = w < n_windows
    place = walker_set * n_windows + w
    walker = tl.load(chosen + place, inside, -1)
    tested = inside & (walker >= 0)
    hit = tl.load(hits + place, inside, 0)
    level = tl.load(walkers.level + walker, tested, 0)
    tl.atomic_add(tally.tests + walker_set * n_levels + level, 1, tested, sem="relaxed")
    total = tally.test_sum + walker_set * n_levels + level
    tl.atomic_add(total, hit.to(tl.int64), tested, sem="relaxed")
    at_top = tested & (level == n_levels - 1)
    tl.atomic_add(tally.test_counts + walker_set * (n_test + 1) + hit, 1, at_top, sem="relaxed")
