"""The records every dataset source fills, and the options that every dataset has."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from volumetry.errors import ConfigError

_TEST_CHOICE_SEED = 20_260_131


class Arrays(NamedTuple):
    """Examples and labels as a source gives them, before ``classes`` and ``n_test``."""

    x_pool: np.ndarray
    y_pool: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A pool to draw training sets from, and a fixed test set.

    Attributes:
        x_pool, x_test: integers of the smallest type that holds both, shape
            (examples, channels, height, width) or (examples, features); the offset of the source
            is already subtracted.
        y_pool, y_test: int64 labels 0..n_classes-1, shape (examples,).
        n_classes: number of classes.
    """

    x_pool: np.ndarray
    y_pool: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int

    @property
    def input_bound(self) -> int:
        """Largest |input|."""
        return max(largest_magnitude(self.x_pool), largest_magnitude(self.x_test))


@dataclass(frozen=True)
class Description:
    """What is known of a dataset without its examples.

    Attributes:
        input_shape: (channels, height, width) or (features,).
        input_bound: largest |input|, or an upper bound of it.
        pool_counts: label -> examples in the pool.
        test_counts: label -> examples in the test set.
    """

    input_shape: tuple[int, ...]
    input_bound: int
    pool_counts: dict[int, int]
    test_counts: dict[int, int]

    system = "classification"
    """What a network and these are: see ``study.registry.Method.systems``."""

    @property
    def n_classes(self) -> int:
        return len(self.pool_counts)

    @property
    def n_outputs(self) -> int:
        """Of networks: a logit for each class."""
        return self.n_classes

    @property
    def n_examples(self) -> int:
        """Of pool and test set together."""
        return sum(self.pool_counts.values()) + self.n_test

    @property
    def n_balanced(self) -> int:
        """Examples in the largest class-balanced subset of the pool."""
        return self.n_classes * min(self.pool_counts.values())

    @property
    def n_test(self) -> int:
        return sum(self.test_counts.values())

    def choose(self, classes: list[int] | None, n_test: int | None) -> "Description":
        """The description after ``classes`` are chosen; both options are checked.

        Raises:
            ConfigError: a class the dataset does not have, or more test examples than it has.
        """
        labels = list(self.pool_counts) if classes is None else classes
        for label in labels:
            if label not in self.pool_counts:
                raise ConfigError(
                    f"classes = {classes}: the dataset has no training label {label}; "
                    f"choose from {', '.join(map(str, self.pool_counts))}"
                )
        chosen = Description(
            self.input_shape,
            self.input_bound,
            {label: self.pool_counts[label] for label in labels},
            {label: self.test_counts.get(label, 0) for label in labels},
        )
        if not chosen.n_test:
            raise ConfigError(
                f"classes = {classes}: the test set has no example of these; choose others, or add "
                "test examples"
            )
        if n_test is not None and chosen.n_test < n_test:
            raise ConfigError(
                f"n_test = {n_test}: the test set has {chosen.n_test} examples of these classes; "
                "lower n_test, or remove it to use all"
            )
        return chosen


def select(arrays: Arrays, classes: list[int] | None, n_test: int | None) -> Dataset:
    """Keep the chosen classes, renumber them in the order given, and keep ``n_test`` test examples.

    Raises:
        ConfigError: a class the dataset does not have, or more test examples than it has.
    """
    description = Description(
        arrays.x_pool.shape[1:], 0, count_labels(arrays.y_pool), count_labels(arrays.y_test)
    ).choose(classes, n_test)
    labels = list(description.pool_counts)
    x_pool, y_pool = _keep(arrays.x_pool, arrays.y_pool, labels)
    x_test, y_test = _keep(arrays.x_test, arrays.y_test, labels)
    if n_test is not None:
        # A plain random choice keeps the proportions of the classes unbiased; its seed is fixed,
        # so every study with the same n_test has the same test set.
        rng = np.random.default_rng(_TEST_CHOICE_SEED)
        chosen = np.sort(rng.permutation(len(y_test))[:n_test])
        x_test, y_test = x_test[chosen], y_test[chosen]
    dtype = np.promote_types(_smallest_dtype(x_pool), _smallest_dtype(x_test))
    return Dataset(x_pool.astype(dtype), y_pool, x_test.astype(dtype), y_test, len(labels))


def count_labels(y: np.ndarray) -> dict[int, int]:
    """Label -> number of examples that carry it, in increasing order of the labels."""
    labels, counts = np.unique(y, return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist()))


def largest_magnitude(x: np.ndarray) -> int:
    """Largest absolute value, without overflow at the end of the type's range."""
    return max(abs(int(x.min())), abs(int(x.max())))


def _keep(x: np.ndarray, y: np.ndarray, labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    new_label = {label: position for position, label in enumerate(labels)}
    kept = np.isin(y, labels)
    return x[kept], np.array([new_label[label] for label in y[kept].tolist()], np.int64)


def _smallest_dtype(x: np.ndarray) -> np.dtype:
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= x.min() and x.max() <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    return np.dtype(np.int64)
