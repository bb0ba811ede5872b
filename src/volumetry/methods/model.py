"""Several networks as one differentiable model (torch): those with binarised weights.

The networks of a job share their architecture and differ in their weights, a matrix of shape
(networks, n_weights) in the flat order of ``volumetry.networks``. Grouped convolutions and batched
matrix products evaluate them together; nothing mixes two of them, forward or backward.

Every layer is scaled by the power of two nearest to 1/sqrt(inputs of one sum), the images by that
nearest to 1/rms. The network is positively homogeneous, so no prediction changes, and a power of
two changes no mantissa: wherever the network's sums are below 2**24, the logits in single precision
are the exact integers times a constant, ties included.

What depends on the kind of weights is dispatched by the network; ``real_model`` has it for real
ones.
"""

import math
from functools import singledispatch

import numpy as np
import torch
import torch.nn.functional as F

from volumetry.networks import Network
from volumetry.networks.forward import pool_inputs, split_weights


def fan_in(network: Network) -> np.ndarray:
    """Number of inputs of the sum each weight belongs to: shape (n_weights,)."""
    layers = [(9 * stage.shape_in[0], stage.n_weights) for stage in network.stages]
    layers += [(layer.inputs, layer.n_weights) for layer in network.linears]
    return np.repeat(*np.transpose(layers))


@singledispatch
def as_images(network: Network, x: np.ndarray, like: np.ndarray) -> torch.Tensor:
    """Integer examples as float32, pooled as the network wants them and scaled to rms of order 1.

    Args:
        x: integers, shape (examples, *input_shape).
        like: the examples whose rms sets the scale, of the same form.
    """
    mean_square = np.mean(np.square(like, dtype=np.float64)) if like.size else 0.0
    return torch.from_numpy(pool_inputs(network, x).astype(np.float32)) * _power_of_two(mean_square)


@singledispatch
def initial_latents(network: Network, rng: np.random.Generator) -> torch.Tensor:
    """Latent weights of one network, uniform within 1/sqrt(fan_in) of zero: shape (n_weights,).

    It is the usual initialisation of the layers; under Adam, whose steps have about the size of
    the learning rate, its width sets how many steps it takes until weights change sign.
    """
    uniform = 2 * rng.random(network.n_weights) - 1
    return torch.from_numpy((uniform / np.sqrt(fan_in(network))).astype(np.float32))


@singledispatch
def weights_of(network: Network, latents: torch.Tensor) -> torch.Tensor:
    """The weights of the network: the signs of the latents, with sign(0) = +1."""
    return (latents >= 0).to(latents.dtype).mul_(2).sub_(1)  # several times faster than where()


@singledispatch
def largest_latent(network: Network) -> float:
    """Latents are kept within this of zero: a latent outside would only take longer to change its
    sign (BinaryConnect, section 2.4)."""
    return 1.0


@singledispatch
def logits(network: Network, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Scaled logits of every network on its own examples.

    Args:
        weights: shape (networks, n_weights); any real numbers.
        x: from ``as_images``, shape (networks, examples, ...): what each network is shown.

    Returns:
        Shape (networks, examples, n_classes).
    """
    networks, examples = x.shape[:2]
    layers = split_weights(network, weights)
    for stage, weight in zip(network.stages, layers):
        weight = weight * _power_of_two(9 * stage.shape_in[0])
        # One call a network: how a grouped convolution sums depends on the number of groups.
        x = torch.cat([F.conv2d(*pair, padding=1) for pair in zip(x, weight)], dim=1)
        # Channels last: torch's pooling on the CPU is several times faster that way.
        x = x.contiguous(memory_format=torch.channels_last)
        for _ in range(stage.pools):
            x = F.max_pool2d(x, 2)
        x = F.relu(x)  # commutes with the pooling, which leaves it a quarter of the work
        x = x.unflatten(1, (networks, -1)).transpose(0, 1).contiguous()
    x = x.reshape(networks, examples, -1)
    for layer, weight in zip(network.linears, layers[len(network.stages) :]):
        weight = weight * _power_of_two(layer.inputs)
        x = torch.bmm(_pad(x, 2), _pad(weight, 1))
        if layer is not network.linears[-1]:
            x = F.relu(x)
    return x


def gradient(
    network: Network, weights: torch.Tensor, x: torch.Tensor, y: torch.Tensor, logit_scale: float
) -> torch.Tensor:
    """Gradient of each network's mean cross-entropy in its own weights, taken as real numbers.

    Args:
        weights: shape (networks, n_weights).
        x: as in ``logits``.
        y: labels, shape (networks, examples).
        logit_scale: factor of the logits in the cross-entropy.

    Returns:
        Shape (networks, n_weights). The loss is summed over the networks, so no gradient depends
        on how many there are.
    """
    weights = weights.detach().requires_grad_()
    out = logit_scale * logits(network, weights, _pad(x, 1)).flatten(0, 1)
    labels = _pad(y, 1, value=-100).flatten()  # a label that cross_entropy leaves out
    loss = F.cross_entropy(out, labels, reduction="sum") / y.shape[1]
    return torch.autograd.grad(loss, weights)[0]


def ascend(gradient: torch.Tensor, rho: float) -> torch.Tensor:
    """The step of length ``rho`` up each network's own gradient (Foret et al. 2021, equation 2).

    Args:
        gradient: shape (networks, n_weights); the step is zero where a gradient vanishes.
    """
    norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    return torch.where(norm > 0, rho * gradient / norm, 0.0)


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with the weight decay added to the gradient.

    ``torch.optim`` does the same, but its first use imports a compiler, which takes longer than a
    small job.

    Args:
        latents: updated in place, shape (networks, n_weights), and kept within ``bound`` of zero.
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(
        self, latents: torch.Tensor, learning_rate: float, weight_decay: float, bound: float = 1.0
    ):
        self.latents, self.learning_rate, self.weight_decay = latents, learning_rate, weight_decay
        self.bound = bound
        self.mean = torch.zeros_like(latents)
        self.square = torch.zeros_like(latents)
        self.steps = 0

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with some of the networks only; ``rows`` is a mask or their indices."""
        self.latents, self.mean, self.square = (
            state[rows] for state in (self.latents, self.mean, self.square)
        )

    def step(self, gradient: torch.Tensor) -> None:
        """Move the latents by one step down ``gradient``."""
        self.steps += 1
        gradient = gradient + self.weight_decay * self.latents
        self.mean.lerp_(gradient, 1 - self.beta1)
        self.square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        spread = (self.square / (1 - self.beta2**self.steps)).sqrt_().add_(self.epsilon)
        rate = self.learning_rate / (1 - self.beta1**self.steps)
        self.latents.addcdiv_(self.mean, spread, value=-rate).clamp_(-self.bound, self.bound)


def _pad(x: torch.Tensor, dim: int, value: float = 0) -> torch.Tensor:
    """Lengthen an axis to a multiple of 16, that is 64 bytes in single precision.

    With that the part of each network begins at such a multiple, and the linear algebra beneath
    rounds it alike wherever it stands.
    """
    missing = -x.shape[dim] % 16
    return F.pad(x, (0, 0) * (x.dim() - 1 - dim) + (0, missing), value=value) if missing else x


def _power_of_two(square: float) -> float:
    """The power of two nearest, as a ratio, to 1/sqrt(square)."""
    return 2.0 ** -round(math.log2(square) / 2) if square else 1.0
