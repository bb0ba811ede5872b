"""Real weights and their gradients in plain numpy.

The weights are the latents themselves, from a draw of the prior on. Those with a uniform prior stay
where it has them; no bound holds the others, whose density is small far out but nowhere nothing.
"""

import numpy as np

from volumetry.methods.descent import binary
from volumetry.methods.descent.binary import LOGIT_SCALE, cross_entropy_gradient
from volumetry.networks.real import (
    RealNetwork,
    activate,
    patches,
    pooled,
    slope,
    split_weights,
)
from volumetry.networks.real_layers import RealConv


@binary.as_seen.register
def _(network: RealNetwork, x: np.ndarray) -> np.ndarray:
    return network.seen(x).astype(np.float32)


@binary.start.register
def _(network: RealNetwork, rng: np.random.Generator) -> np.ndarray:
    return network.space.draw(rng)


@binary.bound_of.register
def _(network: RealNetwork) -> np.ndarray | float:
    return network.space.scale if network.space.prior == "uniform" else np.inf


@binary.weights_of.register
def _(network: RealNetwork, latents: np.ndarray) -> np.ndarray:
    return latents.copy()


@binary.gradient_of.register
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
    """The gradient of pre-activations (n, positions, channels) from that of their largest."""
    channels, height, width = layer.shape_out
    rows, columns = layer.size
    images = sums.transpose(0, 2, 1).reshape(len(sums), channels, rows, columns)
    spread = (layer.pool, layer.pool)
    squares = (
        np.kron(each.reshape(len(sums), channels, height, width), np.ones(spread, sums.dtype))
        for each in (pooled(layer, sums), down)
    )
    largest, passed = squares
    full = np.zeros_like(images)
    inner = np.s_[:, :, : largest.shape[2], : largest.shape[3]]
    full[inner] = passed * (images[inner] == largest)
    return full.reshape(len(sums), channels, -1).transpose(0, 2, 1)
