"""Real weights and their gradients in plain numpy.

The weights are the latents themselves, from a draw of the prior on. Those with a uniform prior stay
where it has them; no bound holds the others, whose density is small far out but nowhere nothing.
"""

import numpy as np

from volumetry.methods.descent import binary
from volumetry.methods.descent.binary import LOGIT_SCALE, cross_entropy_gradient
from volumetry.networks.real import RealNetwork, activate, slope, split_weights


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
    layers, seen, sums = split_weights(network, weights), [], []
    for own, weight in zip(network.linears, layers):
        seen.append(np.hstack([x, np.ones((len(x), 1), x.dtype)]) if own.bias else x)
        sums.append(seen[-1] @ weight.T)
        x = activate(sums[-1], network.activation)
    sharpness = LOGIT_SCALE / network.logit_scale  # where the prior is uniform, logits stay small
    down, found = cross_entropy_gradient(sums[-1], y, sharpness), []
    for number in reversed(range(len(layers))):
        found.append((down.T @ seen[number]).ravel())
        if number:
            before = down @ layers[number][:, : network.linears[number].inputs]
            down = before * slope(sums[number - 1], network.activation)
    return np.concatenate(found[::-1])
