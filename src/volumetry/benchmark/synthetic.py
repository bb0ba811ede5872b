"""Images with the statistics of MNIST that speed can depend on, made without a download.

One channel, values 0..255 minus MNIST's offset of 33, and about 19 % of the pixels, in smooth
strokes around the middle, not zero. Each class has a pattern of its own, which its examples share
in part: so a random network tells classes apart about as well as it does handwritten digits, and
Guess & Check rejects as early. The cost of a move depends on none of this, except that a unit whose
value no example changes is skipped.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from volumetry.networks import Network, build_network

OFFSET = 33
INPUT_BOUND = 255 - OFFSET
_FILLED = 0.19


def make_examples(
    n: int, side: int, classes: int = 10, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Labelled images; the labels are 0, 1, ... in turn, so every training set is balanced.

    Returns:
        x: int64 (n, 1, side, side), -33..222.
        y: int64 (n,), 0..classes-1.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    patterns = _smooth(rng, classes, side)
    field = patterns[y] + 0.7 * _smooth(rng, n, side)
    distance = np.abs(np.linspace(-1, 1, side))
    field -= 3 * (distance[:, None] ** 2 + distance**2)
    excess = field - np.quantile(field, 1 - _FILLED, axis=(1, 2), keepdims=True)
    # Half of what is not zero is saturated, as in MNIST, and the mean of all is 33.
    x = np.rint(255 * np.clip(excess / np.median(excess[excess > 0]), 0, 1)).astype(np.int64)
    return x[:, np.newaxis] - OFFSET, y


def make_network(layers, side: int, classes: int = 10) -> Network:
    """A network for these images, by its layers or a preset's name."""
    return build_network(layers, (1, side, side), classes, INPUT_BOUND)


def _smooth(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Smooth random fields of mean square 1: float64 (count, side, side)."""
    sigma = side / 14
    field = gaussian_filter(rng.standard_normal((count, side, side)), (0, sigma, sigma))
    return field / field.std()
