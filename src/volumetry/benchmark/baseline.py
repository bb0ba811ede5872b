"""What one would write first: every image through the whole network, in torch, for every move.

Float32, batched, without gradients, the examples prepared beforehand. Nothing is clever, and
nothing is slow on purpose: the batch size is the fastest of several, chosen in the same run.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F

from volumetry.networks import Network
from volumetry.networks.forward import pool_inputs, split_weights

BATCHES = (128, 512, 1024)
"""Examples of a batch of ``FullForward`` to choose from."""


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch on ``count`` threads, and the caller's setting again afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_threads(threads: int, work: Callable[[int], object]) -> Callable[[int], None]:
    """The same work, with torch on so many threads."""

    def do(count: int) -> None:
        with torch_threads(threads):
            work(count)

    return do


def as_tensor(network: Network, x: np.ndarray, dtype=torch.float32) -> torch.Tensor:
    """Examples for ``logits``: shape (examples, *input_shape), pooled as the network wants them."""
    return torch.from_numpy(pool_inputs(network, x)).to(dtype)


@torch.no_grad()
def logits(network: Network, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Logits of several networks on the same examples.

    Args:
        weights: shape (networks, n_weights), floating point, each -1 or +1.
        x: from ``as_tensor``.

    Returns:
        Shape (networks, examples, n_classes).
    """
    networks, examples = len(weights), len(x)
    layers = split_weights(network, weights)
    for position, (stage, weight) in enumerate(zip(network.stages, layers)):
        groups = networks if position else 1
        x = F.relu(F.conv2d(x, weight.flatten(0, 1), padding=1, groups=groups))
        for _ in range(stage.pools):
            x = F.max_pool2d(x, 2)
    if network.stages:
        x = x.unflatten(1, (networks, -1)).transpose(0, 1).reshape(networks, examples, -1)
    else:
        x = x.flatten(1).expand(networks, -1, -1)
    for layer, weight in zip(network.linears, layers[len(network.stages) :]):
        x = x @ weight
        if layer is not network.linears[-1]:
            x = F.relu(x)
    return x


class FullForward:
    """A walker that evaluates every move by a full forward pass, and accepts it.

    Args:
        x, y: examples, shapes (examples, *input_shape) and (examples,).
        weights: shape (n_weights,), each -1 or +1.
        dtype: float32 for speed; in float64 every number correct is exact.
        batch: examples of one forward pass.
    """

    def __init__(self, network: Network, x, y, weights, *, dtype=torch.float32, batch: int = 512):
        self.network = network
        images, labels = as_tensor(network, x, dtype), torch.from_numpy(np.asarray(y, np.int64))
        self.batches = list(zip(images.split(batch), labels.split(batch)))
        self.weights = torch.from_numpy(np.asarray(weights)).to(dtype)[None]
        self.random = random.Random(0)

    def count_correct(self) -> int:
        """Examples classified correctly by the present weights."""
        return sum(
            int((logits(self.network, self.weights, x)[0].argmax(dim=1) == y).sum())
            for x, y in self.batches
        )

    def move(self, count: int) -> None:
        """Make ``count`` moves of three flips."""
        for _ in range(count):
            flips = self.random.sample(range(self.network.n_weights), 3)
            self.weights[0, flips] *= -1
            self.count_correct()


class GuessInBatches:
    """Guess & Check in batches: draw many weight settings at once and evaluate all on all n.

    Args:
        x, y: the training set.
        batch: weight settings drawn at once.
    """

    def __init__(self, network: Network, x, y, *, batch: int):
        self.network, self.batch = network, batch
        self.x, self.y = as_tensor(network, x), torch.from_numpy(np.asarray(y, np.int64))
        self.hits = 0

    def guess(self, batches: int = 1) -> None:
        """Make ``batches * batch`` guesses."""
        for _ in range(batches):
            shape = self.batch, self.network.n_weights
            weights = torch.randint(0, 2, shape, dtype=torch.float32).mul_(2).sub_(1)
            right = logits(self.network, weights, self.x).argmax(dim=2) == self.y
            self.hits += int(right.all(dim=1).sum())
