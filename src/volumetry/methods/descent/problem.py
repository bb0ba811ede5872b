"""Weights that gradients find, whatever is measured."""

from functools import singledispatch

import numpy as np


@singledispatch
def descend(problem, seed: int, number: int) -> np.ndarray:
    """Weights that training from random ones finds: they fit, or come close.

    Args:
        seed, number: of the run, and of the network in it.

    Returns:
        (n_weights,), of the type of the problem's weight space.
    """
    raise TypeError(problem)
