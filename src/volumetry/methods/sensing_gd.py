"""Gradient descent on factors of a matrix, from a small initialisation.

The training loss of matrix sensing (``systems.sensing``) is minimised over the weights of all
layers, W_1 .. W_d, with full gradients. Weights start as a draw of the prior times a factor that
makes their product small: near zero gradient descent prefers matrices of low rank (Arora, Cohen, Hu
& Luo 2019, arXiv:1905.13655). Where a problem scales the product, this is done at the end alone: a
direction has no size that could be small. Networks of a job are trained side by side, and none
knows of the others.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from volumetry.methods.descent.sensing import loss_gradient
from volumetry.methods.result import common_result, scored
from volumetry.parameters import check_choices, parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.netcdf import described as over
from volumetry.runtime.progress import Progress
from volumetry.systems.sensing import SensingProblem

_MEMORY = 0.99
"""Of the running mean of squared gradients."""

_KEPT = ("done", "epochs", "going", "weights", "square")
"""Of training: networks that are at their end, and the others."""

_TINY, _ENDLESS = 1e-12, 1e12
"""A loss above the latter only grows."""

_LOOK_EVERY = 1000


@dataclass(frozen=True)
class Parameters:
    """Parameters of the sampler.

    With ``rms`` a step is the gradient over the root of a running mean of its squared norm, all
    weights together, which passes the plateaus of deep factorisations; ``plain`` is the gradient.
    """

    networks: int = parameter(
        5,
        minimum=1,
        maximum=10_000,
        unit="networks",
        about="Networks trained in each run, each from its own initialisation.",
    )
    optimiser: str = parameter(
        "rms", choices=("rms", "plain"), about="Whether steps are scaled by the gradient's norm."
    )
    learning_rate: float = parameter(1e-3, above=0, about="Size of a step.")
    initial_norm: float = parameter(
        1e-3,
        above=0,
        about="By how much less the product of the first weights is than one of weights from the "
        "prior.",
    )
    final_loss: float = parameter(
        0.01,
        above=0,
        maximum=1,
        unit="fraction",
        about="Training loss, relative to `epsilon`, at which training ends.",
    )
    max_epochs: int = parameter(
        200_000,
        minimum=1,
        unit="epochs",
        stops=True,
        about="Steps after which a network that did not get there is given up.",
    )

    def __post_init__(self):
        check_choices(self)


def run(
    problem: SensingProblem,
    parameters: Parameters,
    seed: int,
    *,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Train networks until their training loss is far below epsilon.

    Args:
        seed: 64-bit seed.
        threads: not used.
        checkpoint: of an earlier process; the result does not depend on it.

    Returns:
        The common scalars, of the networks whose training loss got below epsilon, and over
        ``network``: ``fitted``, the two losses at the end, ``epochs_trained`` and ``weights``.
    """
    weights, epochs = _train(problem, parameters, seed, checkpoint or Checkpoint())
    with np.errstate(over="ignore", invalid="ignore"):  # of those that diverged
        losses = np.array([problem.losses(own) for own in weights])
    fitted = losses[:, 0] < problem.epsilon
    found = losses[fitted, 1]
    count, wanted = len(found), parameters.networks
    stderr = found.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
    verdict = f"{count} of {wanted} networks have a training loss below {problem.epsilon:g}"
    diverged = int((~(losses[:, 0] < _ENDLESS)).sum())
    if diverged:
        verdict += f": {diverged} diverged, lower learning_rate"
    elif count < wanted:
        verdict += ": raise max_epochs or learning_rate"
    result = common_result(
        **scored("test_loss", found.mean() if count else np.nan, stderr, count - 1),
        converged=count == wanted,
        verdict=verdict,
        epochs=int(epochs.sum()),
    )
    space = problem.space
    return result.assign(
        fitted=over(
            "network", fitted.astype(np.int8), "whether its training loss is below epsilon"
        ),
        train_loss_of_network=over("network", losses[:, 0], "training loss at the end"),
        test_loss_of_network=over("network", losses[:, 1], "generalisation loss at the end"),
        epochs_trained=over("network", epochs, "steps it was trained"),
        weights=over(
            ("network", "weight_byte"), space.encode(weights), f"last state, {space.encoding}"
        ),
    )


@threadpool_limits.wrap(limits=1)  # sums then do not depend on the number of threads
def _train(
    problem: SensingProblem, parameters: Parameters, seed: int, checkpoint: Checkpoint
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (networks, n_weights) at the end, float32, and the steps that each was trained."""
    network = problem.network
    factor = parameters.initial_norm ** (1 / len(network.linears))
    rngs = [
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        for index in range(parameters.networks)
    ]
    done = factor * np.array([network.space.draw(rng) for rng in rngs], np.float64)
    epochs = np.zeros(len(done), np.int64)
    going, weights, square = np.arange(len(done)), done.copy(), np.zeros(len(done))
    epoch = int(checkpoint.state.get("epoch", 0))
    if 0 < epoch <= parameters.max_epochs:
        kept = (checkpoint.state[name] for name in _KEPT)
        done, epochs, going, weights, square = (values.copy() for values in kept)
    else:
        epoch = 0

    def state():
        values = (each.copy() for each in (done, epochs, going, weights, square))
        return dict(zip(_KEPT, values)) | {"epoch": np.int64(epoch)}

    end = parameters.final_loss * problem.epsilon
    progress = Progress("sensing_gd", "epochs")
    while len(going) and epoch < parameters.max_epochs:
        if checkpoint.due():
            checkpoint.keep(state())
        with np.errstate(over="ignore", invalid="ignore"):
            loss, gradient = loss_gradient(problem, weights)
        if epoch % _LOOK_EVERY == 0:
            progress.update(epoch, parameters.max_epochs, f"largest loss {loss.max():.3g}")
        finished = ~((loss >= end) & (loss < _ENDLESS))
        done[going[finished]], epochs[going[finished]] = weights[finished], epoch
        going, weights, square, gradient = (
            each[~finished] for each in (going, weights, square, gradient)
        )
        if parameters.optimiser == "rms":
            square = _MEMORY * square + (1 - _MEMORY) * np.square(gradient).sum(axis=1)
            size = np.sqrt(square / (1 - _MEMORY ** (epoch + 1))) + _TINY
            gradient = gradient / size[:, None]
        weights = weights - parameters.learning_rate * gradient
        epoch += 1
    checkpoint.state = state()
    done[going], epochs[going] = weights, epoch
    return done.astype(network.space.dtype), epochs
