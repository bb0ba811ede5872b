"""scikit-learn's bundled 8x8 digits (1,797 images, pixels 0..16), split once and for all.

The pool has 100 images of each digit, the test set the other 797.
"""

import numpy as np

from volumetry.datasets.dataset import Arrays, Description, count_labels

OFFSET = 5
POOL_PER_CLASS = 100
_SPLIT_SEED = 8_797


def describe(spec: dict, data_dir: str | None) -> Description:
    pool = dict.fromkeys(range(10), POOL_PER_CLASS)
    test = dict(enumerate([78, 82, 77, 83, 81, 82, 81, 79, 74, 80]))
    return Description((1, 8, 8), 16 - OFFSET, pool, test)


def load(spec: dict, data_dir: str | None) -> Arrays:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images.astype(np.int64) - OFFSET)[:, None]
    y = digits.target.astype(np.int64)
    rng = np.random.default_rng(_SPLIT_SEED)
    in_pool = np.zeros(len(y), bool)
    for label in count_labels(y):
        in_pool[rng.permutation(np.flatnonzero(y == label))[:POOL_PER_CLASS]] = True
    return Arrays(x[in_pool], y[in_pool], x[~in_pool], y[~in_pool])
