"""Binary weights as signs of latent ones (BinaryConnect: Courbariaux, Bengio & David 2015,
arXiv:1511.00363), and their gradients in plain numpy."""

import numpy as np

from volumetry.methods.descent import network as asked
from volumetry.methods.descent.network import LOGIT_SCALE, cross_entropy_gradient
from volumetry.networks import Network
from volumetry.networks.architecture import Stage
from volumetry.networks.forward import pool_inputs, split_weights


@asked.as_seen.register
def _(network: Network, x: np.ndarray) -> np.ndarray:
    x = pool_inputs(network, x).astype(np.float32)
    return x / max(np.sqrt(np.mean(np.square(x))), 1e-6)


@asked.start.register
def _(network: Network, rng: np.random.Generator) -> np.ndarray:
    width = 1 / np.sqrt(_fan_in(network))
    return (width * (2 * rng.random(network.n_weights) - 1)).astype(np.float32)


@asked.bound_of.register
def _(network: Network) -> np.ndarray | float:
    return 1.0


@asked.weights_of.register
def _(network: Network, latents: np.ndarray) -> np.ndarray:
    return np.where(latents >= 0, 1, -1).astype(np.int8)


def _fan_in(network: Network) -> np.ndarray:
    """Number of inputs of the sum that each weight belongs to: (n_weights,)."""
    layers = network.layers_with_weights
    inputs = [9 * own.shape_in[0] if isinstance(own, Stage) else own.inputs for own in layers]
    return np.repeat(inputs, [own.n_weights for own in layers])


@asked.gradient_of.register
def _(network: Network, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Every layer is divided by the root of its number of inputs, which changes no prediction.
    layers, back = split_weights(network, weights), []
    for stage, weight in zip(network.stages, layers):
        x, undo = _convolution(stage, weight, x)
        back.append(undo)
    image_shape, x = x.shape, x.reshape(len(x), -1)
    for linear, weight in zip(network.linears, layers[len(network.stages) :]):
        x, undo = _linear(weight, x, last=linear is network.linears[-1])
        back.append(undo)
    down, found = cross_entropy_gradient(x, y, LOGIT_SCALE), []
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
