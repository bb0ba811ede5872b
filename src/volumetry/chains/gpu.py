"""The Markov chains of ``samplers.chains`` on a GPU: the same chains, bit for bit.

All walker sets run side by side, one program for each replica. What they read and write stays on
the device, and a round is a few launches that the host only enqueues: the moves of every window,
the exchanges of every set, and the tests where there may be any. Results come back when all rounds
are made.

The kernels also run on the CPU, in Triton's interpreter (TRITON_INTERPRET=1), for tests.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch
import triton
import triton.language as tl

from volumetry.chains.cpu import Levels, Tally, Walkers, Windows
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
from volumetry.kernels import streams
from volumetry.kernels.philox import LOG_TABLE, draw_weights
from volumetry.kernels.philox_gpu import log_uniform, words
from volumetry.kernels.streams_gpu import EXCHANGE, MOVES, stream
from volumetry.networks import Network
from volumetry.weights.flips_gpu import draw_flips, flip


class Chains:
    """All walker sets on one device, with fixed inputs and room for evaluations.

    The host's ``Walkers`` are what ``start`` begins with and what ``run_rounds`` leaves; in between
    those on the device count.

    Attributes:
        block: examples that a program looks at together.
        warps: of 32 threads, that a program has.
    """

    def __init__(
        self,
        network: Network,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        flips: int,
        levels: Levels,
        device: str = "cuda",
        warps: int | None = None,
        block: int | None = None,
    ):
        """Copy the examples to the device.

        Args:
            train, test: inputs (n, *input_shape) and labels (n,).
            flips: weights flipped by a move.
            device: as torch names it.
            warps, block: by default as many as keep the sums of a block in registers.

        Raises:
            ConfigError: more flips than the kernels are written for.
        """
        if flips > LARGEST_FLIPS:
            raise ConfigError(
                f"flips = {flips}: at most {LARGEST_FLIPS} on a GPU; lower it, or set device to cpu"
            )
        self.network, self.flips, self.levels, self.device = network, flips, levels, device
        self.train = make_examples(network, *train, device)
        self.test = make_examples(network, *test, device)
        self.warps, self.block = _shape_of_program(network, self.train.width, warps, block)
        self._layout = layout(network)
        self._table = torch.from_numpy(LOG_TABLE).to(device)
        on_gpu = torch.device(device).type == "cuda"
        units = torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else 1
        # Each program of a full evaluation has scratch memory of its own.
        self._programs = 8 * units
        self._scratch = make_states(network, self._programs, self.block, device)
        self._scratch_lock = Lock()
        self._values = self._test_values = self._walkers = None

    def start(self, sets: Sequence[Walkers]) -> None:
        """Compute all values and the level of every replica from its weights."""
        count, windows = len(sets), len(sets[0].level)
        if self._walkers is None or self._walkers.level.shape != (count, windows):
            self._values = self._test_values = None  # free them first
            self._values = make_states(self.network, count * windows, self.train.width, self.device)
            if self.levels.bins > 1:
                self._test_values = make_states(
                    self.network, count * windows, self.test.width, self.device
                )
        self._walkers = self._to_device(sets)
        level = self._evaluate(self.train, self._walkers.weights, self._values) - self.levels.base
        if self.levels.bins > 1:
            hits = self._evaluate(self.test, self._walkers.weights, self._test_values)
            level = level * self.levels.bins + hits // self.levels.width
        self._walkers.level[:] = level.reshape(count, windows)
        for walkers, row in zip(sets, self._walkers.level.cpu().numpy()):
            walkers.level[:] = row

    def run_rounds(
        self,
        sets: Sequence[Walkers],
        windows: Sequence[Windows],
        tallies: Sequence[Tally],
        seed: int,
        moves: np.ndarray,
        test_low: int,
        test_every: int,
    ) -> None:
        """``chains.run_rounds`` for every walker set; set r has number r.

        Args:
            sets, windows, tallies: one of each for a set, all of the same shapes.
        """
        on_device = self._walkers, self._to_device(windows), self._to_device(tallies)
        self._enqueue(*on_device, seed, moves, test_low, test_every)
        for hosts, tensors in zip((sets, tallies), (on_device[0], on_device[2])):
            self._to_host(hosts, tensors)
        for own, log_weight in zip(windows, on_device[1].log_weight.cpu().numpy()):
            if own.ln_f.any():
                own.log_weight[:] = log_weight

    def draw_uniform(self, weights, seed, first, visits, tests, test_sum) -> None:
        """``chains.draw_uniform``; may be called from several threads."""
        for draw, row in enumerate(weights):
            draw_weights(seed, streams.stream(streams.DRAWS, 0), first + draw, row)
        with self._scratch_lock:
            rows = torch.from_numpy(weights).to(self.device)
            correct = self._evaluate(self.train, rows).cpu().numpy()
            hits = self._evaluate(self.test, rows).cpu().numpy()
        np.add.at(visits, correct, 1)
        np.add.at(tests, correct, 1)
        np.add.at(test_sum, correct, hits)

    def _to_device(self, records):
        """Records of arrays, one for each set, as a record of tensors with a leading dimension."""
        return type(records[0])(
            *(torch.from_numpy(np.stack(arrays)).to(self.device) for arrays in zip(*records))
        )

    def _to_host(self, records, tensors) -> None:
        for field, tensor in zip(zip(*records), tensors):
            for array, values in zip(field, tensor.cpu().numpy()):
                array[:] = values

    def _enqueue(self, walkers, windows, tally, seed, moves, test_low, test_every) -> None:
        """Launch all rounds; ``moves`` and what follows as for ``chains.run_rounds``."""
        count, n_windows, rounds = tally.trace.shape
        n_levels = tally.visits.shape[2]
        seed = torch.tensor([seed], dtype=torch.uint64).view(torch.int64).to(self.device)
        moves = torch.from_numpy(np.ascontiguousarray(moves, np.int64)).to(self.device)
        chosen = torch.zeros(count * n_windows, dtype=torch.int32, device=self.device)
        hits = torch.zeros(count * n_windows, dtype=torch.int32, device=self.device)
        binned = self.levels.bins > 1
        lanes = triton.next_power_of_2(n_windows)
        for turn in range(rounds):
            _run_windows[(count * n_windows,)](
                self.train,
                self._values,
                self.test if binned else self.train,
                self._test_values if binned else self._values,
                walkers,
                windows,
                tally,
                moves,
                self._table,
                seed,
                n_windows,
                n_levels,
                LEVELS=tuple(self.levels),
                NET=self._layout,
                M=self.flips,
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
                seed,
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
                weights = walkers.weights.reshape(count * n_windows, -1)
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
        chosen = torch.arange(len(weights), dtype=torch.int32, device=self.device)
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
    weights = walkers.weights + walker.to(tl.int64) * size
    values = state_of(values, walker, 0, NET)
    test_values = state_of(test_values, walker, 0, NET)
    log_weight = windows.log_weight + place.to(tl.int64) * n_levels
    visits = tally.visits + place.to(tl.int64) * n_levels
    changes = tally.changes + place.to(tl.int64) * n_levels
    low = tl.load(windows.low + place).to(tl.int32)
    ln_f = tl.load(windows.ln_f + place)
    interval = tl.load(windows.interval + place)
    seed = tl.load(seed)
    own = stream(MOVES, place)
    level = tl.load(walkers.level + walker).to(tl.int32)
    counter = walkers.step + walker_set * (1 + n_windows) + 1 + w
    first = tl.load(counter)
    last = first + tl.load(moves + w)
    accepted = 0
    for step in range(first, last):
        flips, word = draw_flips(seed, own, step, size, M)
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
        word, _, _, _ = words(seed, stream(EXCHANGE, place), number, 0)
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
