"""Several networks with real weights as one differentiable model: what ``model`` asks of a network.

The weights are the latents themselves. They start as draws of the prior, and no bound holds them.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from volumetry.methods import model
from volumetry.networks.real import LEAK, RealNetwork, split_weights

_ACTIVATE = {
    "linear": lambda x: x,
    "relu": F.relu,
    "tanh": torch.tanh,
    "leaky_relu": lambda x: F.leaky_relu(x, LEAK),
}


@model.as_images.register
def _(network: RealNetwork, x: np.ndarray, like: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(network.seen(x).astype(np.float32))


@model.initial_latents.register
def _(network: RealNetwork, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(network.space.draw(rng))


@model.weights_of.register
def _(network: RealNetwork, latents: torch.Tensor) -> torch.Tensor:
    return latents.clone()


@model.largest_latent.register
def _(network: RealNetwork) -> float:
    return math.inf


@model.logits.register
def _(network: RealNetwork, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    x = x.reshape(*x.shape[:2], -1)
    for layer, weight in zip(network.linears, split_weights(network, weights)):
        bias = weight[..., None, :, layer.inputs] if layer.bias else 0.0
        x = torch.bmm(x, weight[..., : layer.inputs].transpose(1, 2)) + bias
        if layer is not network.linears[-1]:
            x = _ACTIVATE[network.activation](x)
    return x
