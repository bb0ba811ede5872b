"""Real weights and their gradients in plain numpy.

The weights are the latents themselves, from a draw of the prior on. Those with a uniform prior stay
where it has them; no bound holds the others, whose density is small far out but nowhere nothing.
"""

import numpy as np

from volumetry.methods.descent import network as asked
from volumetry.methods.descent.network import LOGIT_SCALE, cross_entropy_gradient
from volumetry.networks.real import (
    RealNetwork,
    activate,
    patches,
    pooled,
    slope,
    split_weights,
)
from volumetry.networks.real_layers import RealConv


@asked.as_seen.register
def _(network: RealNetwork, x: np.ndarray) -> np.ndarray:
    return network.seen(x).astype(np.float32)


@asked.start.register
def _(network: RealNetwork, rng: np.random.Generator) -> np.ndarray:
    return network.space.draw(rng)


@asked.bound_of.register
def _(network: RealNetwork) -> np.ndarray | float:
    return network.space.scale if network.space.prior == "uniform" else np.inf


@asked.weights_of.register
def _(network: RealNetwork, latents: np.ndarray) -> np.ndarray:
    return latents.copy()


@asked.gradient_of.register
def _(network: RealNetwork, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    layers, weights = network.layers_with_weights, split_weights(network, weights)
    seen, sums = [], []
    for own, weight in zip(layers, weights):
        x = patches(own, x) if isinstance(own, RealConv) else x
        seen.append(
            np.concatenate([x, np.ones((*x.shape[:-1], 1), x.dtype)], -1) if own.bias else x
        )
        sums.append(seen[-1] @ weight.T)
        x = pooled(own, sums[-1]) if isinstance(own, RealConv) else sums[-1]
        if own is not layers[-1]:
            x = activate(x, network.activation)
    sharpness = LOGIT_SCALE / network.logit_scale  # where the prior is uniform, logits stay small
    down, found = cross_entropy_gradient(sums[-1], y, sharpness), []
    for number in reversed(range(len(layers))):
        own = layers[number]
        changes, inputs = (each.reshape(-1, each.shape[-1]) for each in (down, seen[number]))
        found.append((changes.T @ inputs).ravel())
        if number:
            before, down = layers[number - 1], down @ weights[number][:, : own.inputs]
            if isinstance(own, RealConv):
                down = _unpatch(own, down)
            if isinstance(before, RealConv):
                down = _unpool(before, down, sums[number - 1])
            down = down * slope(sums[number - 1], network.activation)
    return np.concatenate(found[::-1])


def _unpatch(layer: RealConv, down: np.ndarray) -> np.ndarray:
    """The gradient of values (n, values) from that of their ``patches``."""
    channels, height, width = layer.shape_in
    pad, kernel, (rows, columns) = layer.pad, layer.kernel, layer.size
    down = down.reshape(len(down), rows, columns, channels, kernel, kernel)
    padded = np.zeros((len(down), channels, height + 2 * pad, width + 2 * pad), down.dtype)
    for r in range(kernel):
        for c in range(kernel):
            part = down[..., r, c].transpose(0, 3, 1, 2)
            padded[:, :, r : r + rows, c : c + columns] += part
    return padded[:, :, pad : pad + height, pad : pad + width].reshape(len(down), -1)


def _unpool(layer: RealConv, down: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The gradient of pre-activations (n, positions, channels) from that of the largest of each
    square; a tie shares it."""
    channels, height, width = layer.shape_out
    images = sums.transpose(0, 2, 1).reshape(len(sums), channels, *layer.size)
    inner = np.s_[:, :, : height * layer.pool, : width * layer.pool]
    squares = images[inner].reshape(-1, channels, height, layer.pool, width, layer.pool)
    largest = squares == squares.max(axis=(3, 5), keepdims=True)
    share = largest / largest.sum(axis=(3, 5), keepdims=True, dtype=sums.dtype)
    full = np.zeros_like(images)
    passed = share * down.reshape(-1, channels, height, 1, width, 1)
    full[inner] = passed.reshape(full[inner].shape)
    return full.reshape(len(sums), channels, -1).transpose(0, 2, 1)
