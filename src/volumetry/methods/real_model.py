"""Several networks with real weights as one differentiable model: what ``model`` asks of a network.

The weights are the latents themselves. They start as draws of the prior, and no bound holds them.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from volumetry.methods import model
from volumetry.networks.real import LEAK, RealNetwork, split_weights
from volumetry.networks.real_layers import RealConv

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
    activate = _ACTIVATE[network.activation]
    for layer, weight in zip(network.layers_with_weights, split_weights(network, weights)):
        if isinstance(layer, RealConv):
            each = [_convolve(layer, *pair) for pair in zip(weight, x)]
            x = activate(torch.stack(each))
            continue
        bias = weight[..., None, :, layer.inputs] if layer.bias else 0.0
        x = torch.bmm(x.flatten(2), weight[..., : layer.inputs].transpose(1, 2)) + bias
        if layer is not network.linears[-1]:
            x = activate(x)
    return x


def _convolve(layer: RealConv, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A convolution of one network, and its poolings: (examples, *shape_out)."""
    kernel = weight[:, : layer.inputs].unflatten(1, (-1, layer.kernel, layer.kernel))
    bias = weight[:, layer.inputs] if layer.bias else None
    x = F.conv2d(
        x.unflatten(-1, layer.shape_in) if x.dim() == 2 else x, kernel, bias, padding=layer.pad
    )
    return F.max_pool2d(x, layer.pool) if layer.pool > 1 else x
