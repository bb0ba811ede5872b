"""Classification: how many training examples weights get right, and how many test examples.

A counts the correct training examples, 0..n, and weights fit where A = n; Q is the fraction of the
N test examples that are correct, and their number is the test score.
"""

from dataclasses import dataclass

import numpy as np

from volumetry.engines.memory import walker_bytes
from volumetry.engines.work import move_work
from volumetry.networks import Network
from volumetry.networks.forward import count_correct
from volumetry.networks.real import RealNetwork
from volumetry.systems.grid import Axis, Grid, Levels
from volumetry.weights.moves import Kind, Segment
from volumetry.weights.space import WeightSpace


@dataclass(frozen=True)
class Problem:
    """A network and the examples that define A and Q.

    Attributes:
        network: the architecture.
        x_train, y_train: the n training examples; integers, shapes (n, *input_shape) and (n,).
        x_test, y_test: the N test examples, of the same form.
        x_validation, y_validation: training examples outside D_n, for model selection; may be
            empty.
    """

    network: Network | RealNetwork
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray

    @property
    def space(self) -> WeightSpace:
        """The space of the network's weights."""
        return self.network.space

    @property
    def n_test(self) -> int:
        """N, the number of test examples."""
        return len(self.y_test)

    def score(self, weights: np.ndarray) -> float:
        """Test accuracy of weights (n_weights,), exact."""
        return count_correct(self.network, weights, self.x_test, self.y_test) / self.n_test

    @property
    def system(self) -> "Classification":
        """Levels of A."""
        return Classification.over_correct(self)


@dataclass(frozen=True)
class Classification:
    """A ``System`` of a network: levels of A, or of A and the test score.

    Attributes:
        problem: the network and its examples.
        levels: how A and the test score make a level.
        grid: its coordinate is A.
    """

    problem: Problem
    levels: Levels
    grid: Grid

    score_name, level_name, of_losses = "test_accuracy", "A", False

    @classmethod
    def over_correct(cls, problem: Problem) -> "Classification":
        """One axis: A from 0 to n."""
        a = np.arange(len(problem.y_train) + 1)
        return cls(problem, Levels(1, 1), Grid(a, a == a[-1]))

    @classmethod
    def over_accuracy(cls, problem: Problem, bins: int) -> "Classification":
        """Two axes: A from 0 to n, and the test score in at most ``bins`` bins."""
        n, scores = len(problem.y_train), len(problem.y_test) + 1
        width = -(-scores // bins)
        bins = -(-scores // width)
        a = np.arange((n + 1) * bins) // bins
        return cls(problem, Levels(bins, width), Grid(a, a == n))

    @property
    def space(self) -> WeightSpace:
        """The space of the network's weights."""
        return self.problem.space

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The weights of each layer."""
        return self.problem.network.segments

    def work(self, kind: Kind) -> float:
        """What evaluating a move of a kind costs: see ``engines.work``."""
        work = 0.0
        last = kind.segment.first + kind.segment.size
        for layer, own in enumerate(self.segments):
            shared = min(last, own.first + own.size) - max(kind.segment.first, own.first)
            if shared > 0:
                each = move_work(self.problem.network, layer, kind.flips)
                work += shared / kind.segment.size * each
        return work

    @property
    def largest_score(self) -> int:
        """N, the number of test examples."""
        return len(self.problem.y_test)

    @property
    def axis(self) -> Axis:
        """What the coordinate is."""
        values = np.arange(self.grid.n_coordinates)
        return Axis("A", values, "training examples classified correctly")

    @property
    def score_axis(self) -> Axis:
        """What a test score is."""
        values = np.arange(self.largest_score + 1)
        return Axis("test_correct", values, "test examples classified correctly")

    def mean_score(self, shares: np.ndarray) -> float:
        """Mean test accuracy, from the fraction of each test score: (N + 1,)."""
        return float(shares @ np.arange(len(shares)) / (len(shares) - 1))

    @property
    def tests_every(self) -> int:
        """Rounds between tests of all walkers such that tests do not cost most of the time.

        A full evaluation of the test set takes as long as some N / (9 n) rounds of one window. Odd.
        """
        return self.largest_score // (2 * len(self.problem.y_train)) | 1

    def level(self, correct: int, score: int) -> int:
        """The level of A and a test score."""
        return correct * self.levels.bins + score // self.levels.width

    def observe(self, weights: np.ndarray) -> tuple[int, int]:
        """Level and test score of weights (n_weights,), by the plain forward pass."""
        p = self.problem
        correct = count_correct(p.network, weights, p.x_train, p.y_train)
        score = count_correct(p.network, weights, p.x_test, p.y_test)
        return self.level(correct, score if self.levels.bins > 1 else 0), score

    def walker_bytes(self) -> int:
        """Memory that incremental evaluation takes for one walker."""
        n_test = self.largest_score if self.levels.bins > 1 else 0
        return walker_bytes(self.problem.network, len(self.problem.y_train), n_test)
