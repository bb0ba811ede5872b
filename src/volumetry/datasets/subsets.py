"""Training subsets: nested over n, class-balanced, seeded, the same whatever n are asked for."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Subset:
    """One replicate's ordering of a pool. Its first n entries are the training set D_n.

    Attributes:
        order: positions in the pool, shape (n_max,); every multiple of n_classes is balanced.
        label: training labels of ``order`` after label noise, shape (n_max,).
        validation: positions in the pool for model selection, disjoint from ``order``.
        validation_label: their labels, after label noise of the same fraction.
    """

    order: np.ndarray
    label: np.ndarray
    validation: np.ndarray
    validation_label: np.ndarray


def draw_subset(
    y_pool: np.ndarray, n_classes: int, *, n_validation: int, label_noise: float, seed: int
) -> Subset:
    """Draw one replicate's ordering; n does not enter, so a new n changes no other.

    Args:
        y_pool: labels 0..n_classes-1 of the pool.
        n_classes: number of classes.
        n_validation: examples set apart, taken from the end of the ordering; a multiple of
            n_classes.
        label_noise: fraction of labels redrawn uniformly from all classes, 0..1.
        seed: of this replicate.
    """
    order_rng, noise_rng = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    order = draw_order(y_pool, n_classes, order_rng)
    label = redraw_labels(y_pool[order], n_classes, label_noise, noise_rng)
    n_train = len(order) - n_validation
    return Subset(order[:n_train], label[:n_train], order[n_train:], label[n_train:])


def draw_order(y: np.ndarray, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """An ordering in blocks of one example of each class, each block shuffled.

    Returns:
        Positions in ``y``, shape (n_classes * smallest class,); surplus examples are left out.
    """
    n_blocks = np.bincount(y, minlength=n_classes).min()
    columns = [rng.permutation(np.flatnonzero(y == label))[:n_blocks] for label in range(n_classes)]
    return rng.permuted(np.stack(columns, axis=1), axis=1).ravel()


def redraw_labels(
    y: np.ndarray, n_classes: int, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Redraw a fraction of the labels uniformly from all classes, the true one included.

    Which ones: a regular grid with a random start, so that of the first n labels, for every n,
    the number redrawn is within one of ``fraction * n``. The ordering is shuffled inside its
    blocks, hence the grid knows nothing of the classes.
    """
    grid = np.floor(fraction * np.arange(len(y) + 1) + rng.random())
    return np.where(np.diff(grid) > 0, rng.integers(0, n_classes, len(y)), y)
