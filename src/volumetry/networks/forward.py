"""The plain forward pass: every layer in full, exact, the yardstick for the incremental engine.

Sums of integers are exact in floating point while they stay below the width of the mantissa, and
the proven bound says when they do. So matrix products run through BLAS, at its speed, and the
result is still the integer.
"""

import math
from functools import singledispatch
from typing import Any

import numpy as np

from volumetry.networks.architecture import Network, Stage

_BATCH_VALUES = 4_000_000


def exact_dtype(bound: int) -> np.dtype:
    """The fastest type in which sums up to ``bound`` in absolute value are exact."""
    if bound < 2**24:
        return np.dtype(np.float32)
    if bound < 2**53:
        return np.dtype(np.float64)
    return np.dtype(np.int64)


def split_weights(network: Network, weights: np.ndarray) -> list[np.ndarray]:
    """Views of the flat vector, one for each layer.

    Args:
        weights: shape (..., n_weights).

    Returns:
        For each stage (..., c_out, c_in, 3, 3), then for each linear layer (..., inputs, outputs).
    """
    shapes: list[tuple[int, ...]]
    shapes = [(stage.channels, stage.shape_in[0], 3, 3) for stage in network.stages]
    shapes += [(layer.inputs, layer.outputs) for layer in network.linears]
    views, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        views.append(weights[..., start:stop].reshape(weights.shape[:-1] + shape))
        start = stop
    return views


def max_pool(images: np.ndarray) -> np.ndarray:
    """2x2 maximum over the last two axes; an odd last row or column is left out."""
    height, width = images.shape[-2] // 2 * 2, images.shape[-1] // 2 * 2
    blocks = images[..., :height, :width].reshape(*images.shape[:-2], height // 2, 2, width // 2, 2)
    return blocks.max(axis=(-3, -1))


def pool_inputs(network: Network, x: np.ndarray) -> np.ndarray:
    """Apply the poolings that stand before every weight, once for all."""
    for _ in range(network.input_pools):
        x = max_pool(x)
    return x


def logits(network: Network, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Exact logits.

    Args:
        weights: shape (n_weights,), each -1 or +1.
        x: integers, shape (examples, *input_shape), none beyond ``network.input_bound``.

    Returns:
        int64, shape (examples, n_classes).
    """
    layers = split_weights(network, weights)
    per_example = max(
        [9 * stage.shape_in[0] * stage.shape_in[1] * stage.shape_in[2] for stage in network.stages]
        + [layer.inputs for layer in network.linears]
    )
    step = max(1, _BATCH_VALUES // per_example)
    parts = [
        _logits_of_batch(network, layers, pool_inputs(network, x[start : start + step]))
        for start in range(0, len(x), step)
    ]
    return np.concatenate(parts) if parts else np.empty((0, network.n_classes), np.int64)


def predict(network: Network, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Predicted classes, shape (examples,): the largest logit, ties to the lowest class."""
    return logits(network, weights, x).argmax(axis=1)


@singledispatch
def count_correct(network: Any, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> int:
    """Number of examples classified correctly, of a ``Network`` or one that registers itself."""
    return int((predict(network, weights, x) == y).sum())


def _logits_of_batch(network: Network, layers: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    for stage, weight in zip(network.stages, layers):
        x = np.maximum(_convolve(stage, weight, x), 0)
        for _ in range(stage.pools):
            x = max_pool(x)
    x = x.reshape(len(x), -1)
    for layer, weight in zip(network.linears, layers[len(network.stages) :]):
        dtype = exact_dtype(layer.bound)
        x = x.astype(dtype, copy=False) @ weight.astype(dtype)
        if layer is not network.linears[-1]:
            x = np.maximum(x, 0)
    return x.astype(np.int64)


def _convolve(stage: Stage, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """3x3 cross-correlation, stride 1, zero padding 1: shape (examples, c_out, height, width)."""
    dtype = exact_dtype(stage.bound)
    channels, height, width = stage.shape_in
    padded = np.zeros((len(x), channels, height + 2, width + 2), dtype)
    padded[:, :, 1:-1, 1:-1] = x
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    columns = patches.transpose(0, 2, 3, 1, 4, 5).reshape(len(x), height * width, channels * 9)
    out = columns @ weight.reshape(stage.channels, -1).T.astype(dtype)
    return out.transpose(0, 2, 1).reshape(len(x), stage.channels, height, width)
