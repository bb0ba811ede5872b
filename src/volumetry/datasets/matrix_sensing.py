"""Matrices of low rank and measurements of them: what matrix sensing asks for.

Every replicate has a matrix of its own, drawn with its measurements. There are no examples: this
source describes how they are drawn.
"""

from dataclasses import dataclass

import numpy as np

from volumetry.errors import ConfigError
from volumetry.parameters import check_choices, chosen, parameter


@dataclass(frozen=True)
class Options:
    """Of an entry of ``datasets`` in a configuration."""

    rows: int = parameter(5, minimum=1, maximum=1000, about="Rows of the matrix.")
    columns: int = parameter(5, minimum=1, maximum=1000, about="Columns of the matrix.")
    rank: int = parameter(
        1, minimum=1, about="Rank of the matrix, a product of two normal ones; its norm is 1."
    )
    measurements: str = parameter(
        "gaussian",
        choices=("gaussian", "completion"),
        about="What measures it: normal matrices of norm 1, or single entries.",
    )
    epsilon: float = parameter(
        0.02, above=0, about="Training loss below which weights fit: the goal."
    )
    normalised: bool = parameter(
        False,
        about="Whether the product of a network's layers is scaled to the norm of the matrix.",
    )

    system = "sensing"
    """What a network and these are: see ``study.registry.Method.systems``."""

    def __post_init__(self):
        check_choices(self)
        if self.rank > min(self.rows, self.columns):
            raise ConfigError(
                f"rank = {self.rank}: a matrix of {self.rows} x {self.columns} has rank "
                f"{min(self.rows, self.columns)} at most; lower it"
            )

    @property
    def input_shape(self) -> tuple[int]:
        """Of what networks see: unit vectors."""
        return (self.columns,)

    @property
    def n_outputs(self) -> int:
        """Of networks: an entry for each row."""
        return self.rows

    @property
    def input_bound(self) -> int:
        """Largest entry of what networks see."""
        return 1

    @property
    def n_examples(self) -> int:
        """Of a file of this source: none."""
        return 0

    @property
    def n_test(self) -> int:
        """Measurements of the generalisation loss, at most."""
        return self.rows * self.columns

    @property
    def free(self) -> int:
        """Numbers that a matrix of that rank has free."""
        return self.rank * (self.rows + self.columns - self.rank)

    def choose(self, classes: list[int] | None, n_test: int | None) -> "Options":
        """The same: there are neither classes nor test examples to choose from.

        Raises:
            ConfigError: either is given.
        """
        for name, value in (("classes", classes), ("n_test", n_test)):
            if value is not None:
                raise ConfigError(f"{name} = {value}: matrix_sensing has none; remove the key")
        return self

    def check_sizes(self, sizes: list[int]) -> None:
        """Refuse numbers of measurements that leave nothing to generalise to, or too much.

        Raises:
            ConfigError: a size out of range.
        """
        most = self.rows * self.columns - 1
        for n in sizes:
            if not self.free <= n <= most:
                raise ConfigError(
                    f"n = {n}: a {self.rows} x {self.columns} matrix of rank {self.rank} has "
                    f"{self.free} numbers free, and measuring all {most + 1} leaves nothing to "
                    f"generalise to; use n from {self.free} to {most}"
                )


@dataclass(frozen=True)
class Measured:
    """A matrix, and measurements of it in the order in which training sets take them.

    Attributes:
        truth: (rows, columns), of norm 1.
        matrices: (rows * columns - 1, rows, columns), each of norm 1; nested over n.
    """

    truth: np.ndarray
    matrices: np.ndarray


def describe(spec: dict, data_dir: str | None) -> Options:
    return chosen(Options, spec)


def load(spec: dict, data_dir: str | None) -> Options:
    return chosen(Options, spec)


def measure(options: Options, seed: int) -> Measured:
    """Draw a matrix and its measurements; n does not enter, so a new n changes no other."""
    rows, columns, rank = options.rows, options.columns, options.rank
    truth_rng, rng = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    factors = truth_rng.standard_normal((rows, rank)), truth_rng.standard_normal((rank, columns))
    truth = factors[0] @ factors[1]
    count = rows * columns
    if options.measurements == "completion":
        matrices = np.eye(count)[rng.permutation(count)[: count - 1]]
    else:
        matrices = rng.standard_normal((count - 1, count))
        matrices /= np.linalg.norm(matrices, axis=1, keepdims=True)
    return Measured(truth / np.linalg.norm(truth), matrices.reshape(-1, rows, columns))


def left_out(matrices: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what n matrices leave out: (rows * columns - n, rows, columns)."""
    n, rows, columns = matrices.shape
    whole, _ = np.linalg.qr(matrices.reshape(n, -1).T, mode="complete")
    return np.ascontiguousarray(whole[:, n:].T).reshape(-1, rows, columns)
