"""Walkers on a GPU, and the launches that move them."""

import numpy as np
import torch
import triton

from volumetry.chains.rounds_gpu import evaluate_all, exchange, run_windows, tally_tests
from volumetry.engines.layout_gpu import Examples, layout, make_examples, make_states
from volumetry.kernels.philox import LOG_TABLE
from volumetry.systems.classification import Classification


class OnDevice:
    """The examples, the walkers with all their values, and what launches need.

    Attributes:
        device: as torch names it.
        train, test: the examples.
        weights: int8 (R, W, n_weights): of the walkers.
        values, test_values: what incremental evaluation keeps of them; the latter only where every
            move looks at the test set.
        block: examples that a program looks at together.
        warps: of 32 threads, that a program has.
    """

    def __init__(
        self,
        system: Classification,
        seed: int,
        device: str,
        warps: int | None = None,
        block: int | None = None,
    ) -> None:
        """Copy the examples to the device.

        Args:
            seed: 64-bit key of the random numbers.
            warps, block: by default as many as keep the sums of a block in registers.
        """
        problem = system.problem
        self.device, self._system, self._network = device, system, problem.network
        self._binned = system.levels.bins > 1
        self.train = make_examples(self._network, problem.x_train, problem.y_train, device)
        self.test = make_examples(self._network, problem.x_test, problem.y_test, device)
        self.warps, self.block = _shape_of_program(self._network, self.train.width, warps, block)
        self._layout = layout(self._network)
        self._table = torch.from_numpy(LOG_TABLE).to(device)
        self._seed = torch.tensor([seed], dtype=torch.uint64).view(torch.int64).to(device)
        on_gpu = torch.device(device).type == "cuda"
        units = torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else 1
        # Each program of a full evaluation has scratch memory of its own.
        self._programs = 8 * units
        self._scratch = make_states(self._network, self._programs, self.block, device)
        self.values = self.test_values = None
        self.weights = torch.empty(0, 0, self._network.n_weights, dtype=torch.int8)

    def parts(self, members: int) -> list[slice]:
        """As many members at a time as fit into half of the device's free memory."""
        most = members
        if torch.device(self.device).type == "cuda":
            self.values = self.test_values = None
            free, _ = torch.cuda.mem_get_info(self.device)
            tests = 8 * (self._system.largest_score + 1)
            most = max(1, free // 2 // (self._system.walker_bytes() + tests))
        return [slice(r, min(r + most, members)) for r in range(0, members, most)]

    def start(self, weights: np.ndarray) -> np.ndarray:
        """Compute all values of every replica from its weights; their levels (R, W)."""
        count = weights.shape[0] * weights.shape[1]
        if self.values is None or self.weights.shape != weights.shape:
            self.values = self.test_values = None  # free them first
            self.values = make_states(self._network, count, self.train.width, self.device)
            if self._binned:
                self.test_values = make_states(self._network, count, self.test.width, self.device)
        self.weights = torch.from_numpy(np.array(weights, np.int8)).to(self.device)
        correct = self.evaluate(self.train, self.weights, self.values).cpu().numpy()
        score = 0
        if self._binned:
            score = self.evaluate(self.test, self.weights, self.test_values).cpu().numpy()
        return self._system.level(correct, score).reshape(weights.shape[:2])

    def enqueue(
        self, walkers, windows, tally, flips, place, moves, test_low, test_every, pull=None
    ) -> None:
        """Launch all rounds.

        Args:
            flips: the numbers of flips that kinds of moves have.
            place: that streams of moves give to the first window of the first set.
            moves, test_low, test_every: as for ``cpu.run_rounds``.
            pull: ``toward`` (R, n_weights), for one window a set, and ``strength`` (1).
        """
        count, n_windows, rounds = tally.trace.shape
        n_levels = tally.visits.shape[2]
        moves = torch.from_numpy(moves).to(self.device)
        chosen = torch.zeros(count * n_windows, dtype=torch.int32, device=self.device)
        hits = torch.zeros(count * n_windows, dtype=torch.int32, device=self.device)
        lanes = triton.next_power_of_2(n_windows)
        for turn in range(rounds):
            run_windows[(count * n_windows,)](
                self.train,
                self.values,
                self.test if self._binned else self.train,
                self.test_values if self._binned else self.values,
                self.weights,
                walkers,
                windows,
                tally,
                pull,
                moves,
                self._table,
                self._seed,
                place,
                n_windows,
                n_levels,
                LEVELS=tuple(self._system.levels),
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
                weights = self.weights.reshape(count * n_windows, -1)
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

    def evaluate(self, examples: Examples, weights, values=None):
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
