"""Matrix sensing: how well the product of a network's layers agrees with measurements of a matrix.

A matrix W* of low rank is measured n times, y_i = <A_i, W*>, and a network with weights W_1 .. W_d
and activation s stands for W = W_d s(W_(d-1) s(.. s(W_1))). It fits where its training loss, the
mean of (<A_i, W> - y_i)^2, is below epsilon. How well it generalises is told by the same mean over
an orthonormal basis of all that the A_i leave out (Alexander, Slutzky, Ran-Milo & Cohen,
arXiv:2506.03931).

Levels are logarithmic bins of the training loss, scores such bins of the generalisation loss: the
higher, the lower the loss.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volumetry.datasets.matrix_sensing import left_out
from volumetry.engines.memory import walker_bytes
from volumetry.engines.work import move_work
from volumetry.errors import ConfigError
from volumetry.networks.real import RealNetwork, logits
from volumetry.systems.grid import Axis, Grid, Levels
from volumetry.weights.moves import Kind, Segment
from volumetry.weights.real import RealWeights

LEVEL = 0.1
"""Width of a level, nats of the training loss."""

SCORE = 0.02
"""Width of a score, nats of the generalisation loss: a mean of middles is right to 0.01 %."""

_DRAWS = 201
"""From the prior, to see whether a goal is one."""

_HIGHEST, _LOWEST = 7.0, -13.0
"""Ends of the scores, nats above what a product of zero loses."""


@dataclass(frozen=True)
class SensingProblem:
    """A network and the measurements that it is to agree with.

    Attributes:
        network: takes vectors of as many entries as W* has columns, and has an output for each of
            its rows.
        matrices, values: the n measurements A_i, (n, rows, columns), and y_i, (n,).
        basis, basis_values: those of an orthonormal basis of what the A_i leave out, of the same
            form.
        epsilon: the training loss below which weights fit.
        norm: Frobenius norm that the product is scaled to; 0 for none.
    """

    network: RealNetwork
    matrices: np.ndarray
    values: np.ndarray
    basis: np.ndarray
    basis_values: np.ndarray
    epsilon: float
    norm: float = 0.0

    @classmethod
    def of(
        cls,
        network: RealNetwork,
        truth: np.ndarray,
        matrices: np.ndarray,
        epsilon: float,
        norm: float = 0.0,
    ) -> "SensingProblem":
        """The problem that measurements of a matrix W* (rows, columns) pose."""
        basis = left_out(matrices)
        values = np.tensordot(matrices, truth), np.tensordot(basis, truth)
        return cls(network, matrices, values[0], basis, values[1], epsilon, norm)

    @property
    def space(self) -> RealWeights:
        """The space of the network's weights."""
        return self.network.space

    @property
    def n_test(self) -> int:
        """Measurements of the generalisation loss."""
        return len(self.basis_values)

    @property
    def system(self) -> "Sensing":
        """Levels of the training loss."""
        return Sensing.of(self)

    def check_prior(self) -> None:
        """Refuse a goal that is none, and losses that are no numbers.

        Raises:
            ConfigError: at least half of the weights drawn from the prior fit, or a loss of theirs
                is not finite.
        """
        rng = np.random.default_rng(0)
        with np.errstate(over="ignore", invalid="ignore"):
            losses = np.array([self.losses(self.space.draw(rng)) for _ in range(_DRAWS)])
        if not np.isfinite(losses).all():
            raise ConfigError(
                "scale: weights drawn from the prior have a loss that is not finite; lower the "
                "scale of the architecture"
            )
        if (median := float(np.median(losses[:, 0]))) <= self.epsilon:
            raise ConfigError(
                f"epsilon = {self.epsilon:g}: half of the weights drawn from the prior have a "
                f"training loss below {median:.3g}, so fitting means nothing; use less"
            )

    def product(self, weights: np.ndarray) -> np.ndarray:
        """W, (rows, columns), of weights (n_weights,)."""
        found = logits(self.network, weights, np.eye(self.network.linears[0].inputs)).T
        size = np.linalg.norm(found)
        return found * (self.norm / size) if self.norm and size > 0 else found

    def score(self, weights: np.ndarray) -> float:
        """Generalisation loss of weights (n_weights,)."""
        return _loss(self.product(weights), self.basis, self.basis_values)

    def losses(self, weights: np.ndarray) -> tuple[float, float]:
        """Training and generalisation loss of weights (n_weights,)."""
        product = self.product(weights)
        train = _loss(product, self.matrices, self.values)
        return train, _loss(product, self.basis, self.basis_values)


def _loss(product: np.ndarray, matrices: np.ndarray, values: np.ndarray) -> float:
    return float(np.mean((np.tensordot(matrices, product) - values) ** 2))


@dataclass(frozen=True)
class Sensing:
    """A ``System`` of a network and measurements of a matrix.

    Attributes:
        problem: the two.
        levels: one bin of the score.
        grid: its coordinate is the level of the training loss.
    """

    problem: SensingProblem
    levels: Levels
    grid: Grid

    score_name, level_name, of_losses = "test_loss", "level", True

    tests_every = 1
    """Rounds between tests: one costs about as much as a move."""

    @classmethod
    def of(cls, problem: SensingProblem) -> "Sensing":
        """Levels from ten times the loss of a product of zero down to epsilon."""
        highest = 10 * np.mean(problem.values**2)
        count = max(1, int(np.ceil(np.log(highest / problem.epsilon) / LEVEL)) + 1)
        level = np.arange(count + 1)
        return cls(problem, Levels(1, 1), Grid(level, level == count))

    @cached_property
    def edges(self) -> np.ndarray:
        """Training losses that levels end below, from level 1 on, descending: (levels - 1,)."""
        above = np.arange(self.grid.size - 1)[::-1]
        return self.problem.epsilon * np.exp(LEVEL * above)

    @cached_property
    def score_edges(self) -> np.ndarray:
        """The same of the generalisation loss: (largest_score,)."""
        nats = np.arange(_HIGHEST, _LOWEST, -SCORE)
        p = self.problem
        scale = np.mean(np.concatenate([p.values, p.basis_values]) ** 2)
        return scale * np.exp(nats)

    @cached_property
    def score_values(self) -> np.ndarray:
        """The generalisation loss that a score stands for: (largest_score + 1,)."""
        edges = self.score_edges
        return np.append(edges, edges[-1] * np.exp(-SCORE)) * np.exp(SCORE / 2)

    @property
    def space(self) -> RealWeights:
        """The space of the network's weights."""
        return self.problem.space

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The weights of each layer."""
        return self.problem.network.segments

    @property
    def largest_score(self) -> int:
        """That of no loss at all."""
        return len(self.score_edges)

    @property
    def axis(self) -> Axis:
        """What the coordinate is."""
        return Axis("loss", np.append(np.inf, self.edges), "training losses are below this")

    @property
    def score_axis(self) -> Axis:
        """What a score is."""
        return Axis("test_loss_bin", self.score_values, "generalisation loss, middle of its bin")

    def mean_score(self, shares: np.ndarray) -> float:
        """Mean generalisation loss, from the fraction of each score: (largest_score + 1,)."""
        return float(shares @ self.score_values)

    def work(self, kind: Kind) -> float:
        """What evaluating a move of a kind costs: see ``engines.work``."""
        layers = [s for s in self.segments if s.first < kind.segment.first + kind.segment.size]
        network = self.problem.network
        products = float(self.problem.matrices.size / network.linears[0].inputs)
        return move_work(network, len(layers) - 1, kind.flips) + products

    def observe(self, weights: np.ndarray) -> tuple[int, int]:
        """Level and score of weights (n_weights,), by the plain forward pass."""
        train, test = self.problem.losses(weights)
        return int((train < self.edges).sum()), int((test < self.score_edges).sum())

    def walker_bytes(self) -> int:
        """Memory that incremental evaluation takes for one walker."""
        return walker_bytes(self.problem.network, self.problem.network.linears[0].inputs, 0)
