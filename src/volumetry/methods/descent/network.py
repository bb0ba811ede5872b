"""What training asks of a network, whatever its weights are."""

from functools import singledispatch

import numpy as np

LOGIT_SCALE = 4.0
"""Of the cross-entropy: logits of order one become as sharp as this."""


@singledispatch
def as_seen(network, x: np.ndarray) -> np.ndarray:
    """Examples as the first layer sees them, with values of order one: float32 (n, ...)."""
    raise TypeError(network)


@singledispatch
def start(network, rng: np.random.Generator) -> np.ndarray:
    """Latent weights to start from: float32 (n_weights,)."""
    raise TypeError(network)


@singledispatch
def bound_of(network) -> np.ndarray | float:
    """Latents are kept within this of zero."""
    raise TypeError(network)


@singledispatch
def weights_of(network, latents: np.ndarray) -> np.ndarray:
    """Weights of the network, a copy: (n_weights,)."""
    raise TypeError(network)


@singledispatch
def gradient_of(network, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy in the weights, read as real numbers: (n_weights,).

    Args:
        x: from ``as_seen``.
    """
    raise TypeError(network)


def cross_entropy_gradient(logits: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """Gradient of the mean cross-entropy of ``scale`` x logits in the logits: (n, n_classes)."""
    logits = scale * logits
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    likely[np.arange(len(y)), y] -= 1
    return scale / len(y) * likely
