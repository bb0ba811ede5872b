"""Networks that gradients find, quickly: where a volume sampler also starts from.

A sampler that only ever comes from below cannot know of fits that nothing on the way leads to. So
it asks what training finds: BinaryConnect (Courbariaux, Bengio & David 2015, arXiv:1511.00363) with
Adam, as ``methods.training`` has it, in plain numpy: a job that samples for a second cannot wait
several for torch. What is trained here decides no result; it is a place to look.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from volumetry.networks import Network
from volumetry.networks.architecture import Stage
from volumetry.networks.forward import count_correct, pool_inputs, split_weights
from volumetry.systems.classification import Problem

_MOST_EPOCHS = 500
_EXTRA_EPOCHS = 20
"""After the first fit: margins grow, and with them what only they can tell apart."""

_BATCH = 100
_RATE = 0.003
_LOGIT_SCALE = 4.0
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@threadpool_limits.wrap(limits=1)  # sums then do not depend on the number of threads
def descend(problem: Problem, seed: int, number: int) -> tuple[np.ndarray, int]:
    """Train a network from random latent weights.

    Args:
        seed, number: of the run, and of the network in it.

    Returns:
        int8 (n_weights,), the last weights that fit, or else those that were right most often; and
        how many training examples they have right.
    """
    network, n = problem.network, len(problem.y_train)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    x = pool_inputs(network, problem.x_train).astype(np.float32)
    x /= max(np.sqrt(np.mean(np.square(x))), 1e-6)
    width = 1 / np.sqrt(_fan_in(network))
    latents = (width * (2 * rng.random(network.n_weights) - 1)).astype(np.float32)
    mean, square, steps = np.zeros_like(latents), np.zeros_like(latents), 0
    best, most, fitted = np.ones(network.n_weights, np.int8), -1, 0
    for _ in range(_MOST_EPOCHS):
        for batch in np.array_split(rng.permutation(n), -(-n // _BATCH)):
            weights = np.where(latents >= 0, np.float32(1), np.float32(-1))
            gradient = _gradient(network, weights, x[batch], problem.y_train[batch])
            steps += 1
            mean += (1 - _BETA1) * (gradient - mean)
            square += (1 - _BETA2) * (gradient**2 - square)
            spread = np.sqrt(square / (1 - _BETA2**steps)) + _EPSILON
            latents -= _RATE / (1 - _BETA1**steps) * mean / spread
            np.clip(latents, -1, 1, out=latents)
        signs = np.where(latents >= 0, 1, -1).astype(np.int8)
        correct = count_correct(network, signs, problem.x_train, problem.y_train)
        if correct >= most:
            best, most = signs, correct
        fitted += most == n
        if fitted > _EXTRA_EPOCHS:
            break
    return best, most


def _fan_in(network: Network) -> np.ndarray:
    """Number of inputs of the sum that each weight belongs to: (n_weights,)."""
    layers = network.layers_with_weights
    inputs = [9 * own.shape_in[0] if isinstance(own, Stage) else own.inputs for own in layers]
    return np.repeat(inputs, [own.n_weights for own in layers])


def _gradient(network: Network, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy in the weights, read as real numbers: (n_weights,).

    Every layer is divided by the root of its number of inputs, which changes no prediction.
    """
    layers, back = split_weights(network, weights), []
    for stage, weight in zip(network.stages, layers):
        x, undo = _convolution(stage, weight, x)
        back.append(undo)
    image_shape, x = x.shape, x.reshape(len(x), -1)
    for linear, weight in zip(network.linears, layers[len(network.stages) :]):
        x, undo = _linear(weight, x, last=linear is network.linears[-1])
        back.append(undo)
    logits = _LOGIT_SCALE * x
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    likely[np.arange(len(y)), y] -= 1
    down, found = _LOGIT_SCALE / len(y) * likely, []
    for number, undo in reversed(list(enumerate(back, 1))):
        own, down = undo(down)
        found.append(own.ravel())
        if number - 1 == len(network.stages):
            down = down.reshape(image_shape)
    return np.concatenate(found[::-1])


def _linear(weight: np.ndarray, x: np.ndarray, last: bool):
    """A layer's output, and what turns the gradient there into those of its weights and input."""
    scale = np.float32(1 / np.sqrt(len(weight)))
    out = x @ weight * scale

    def undo(down):
        if not last:
            down = down * (out > 0)
        return x.T @ down * scale, down @ weight.T * scale

    return out if last else np.maximum(out, 0), undo


def _convolution(stage: Stage, weight: np.ndarray, x: np.ndarray):
    """As ``_linear``, of a convolution with its poolings, which pass gradients to the maximum."""
    scale = np.float32(1 / np.sqrt(9 * stage.shape_in[0]))
    kernel = weight.reshape(stage.channels, -1) * scale
    columns = _patches(x)
    out = kernel @ columns  # (examples, channels, pixels)
    images = out.reshape(len(x), stage.channels, *stage.shape_in[1:])
    pooled, undo_pools = images, []
    for _ in range(stage.pools):
        pooled, undo_pool = _pool(pooled)
        undo_pools.append(undo_pool)

    def undo(down):
        down = down * (pooled > 0)
        for undo_pool in reversed(undo_pools):
            down = undo_pool(down)
        down = down.reshape(out.shape)
        own = np.einsum("ecp,eip->ci", down, columns, optimize=True) * scale
        return own, _unpatch(kernel.T @ down, x.shape)

    return np.maximum(pooled, 0), undo


def _patches(x: np.ndarray) -> np.ndarray:
    """The 3x3 neighbourhood of every pixel: (examples, channels * 9, pixels)."""
    examples, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifted = [padded[:, :, r : r + height, c : c + width] for r in range(3) for c in range(3)]
    return np.stack(shifted, axis=2).reshape(examples, channels * 9, height * width)


def _unpatch(columns: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of images from that of their ``_patches``."""
    examples, channels, height, width = shape
    columns = columns.reshape(examples, channels, 9, height, width)
    padded = np.zeros((examples, channels, height + 2, width + 2), columns.dtype)
    for k in range(9):
        r, c = divmod(k, 3)
        padded[:, :, r : r + height, c : c + width] += columns[:, :, k]
    return padded[:, :, 1:-1, 1:-1]


def _pool(x: np.ndarray):
    """2x2 maximum, and what takes a gradient back to the maxima; a tie shares it."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    blocks = x[:, :, : 2 * height, : 2 * width].reshape(*x.shape[:2], height, 2, width, 2)
    top = blocks.max(axis=(3, 5), keepdims=True)

    def undo(down):
        largest = blocks == top
        share = largest / largest.sum(axis=(3, 5), keepdims=True, dtype=np.float32)
        full = np.zeros_like(x)
        spread = share * down[:, :, :, None, :, None]
        full[:, :, : 2 * height, : 2 * width] = spread.reshape(*x.shape[:2], 2 * height, 2 * width)
        return full

    return top[:, :, :, 0, :, 0], undo
