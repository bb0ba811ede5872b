"""Gradient training of networks with weights in {-1, +1}: gd, sgd and sam.

BinaryConnect (Courbariaux, Bengio & David 2015, arXiv:1511.00363): real latent weights, their signs
in the forward pass, and a gradient in the signs that goes straight through to the latents. As in
Pakman, Kreimer & Berchenko (arXiv:2606.31282) the optimiser is Adam.

- *gd* takes one step an epoch, on the whole training set.
- *sgd* takes one step for each mini-batch of a fresh random order.
- *sam* (Foret et al. 2021, arXiv:2010.01412) takes each step with the gradient at w + e, where e
  is the step of length rho up the gradient at w. Both gradients are in the binarised weights w,
  read as real numbers; so rho is a length in the space where |w| = sqrt(M) and one flip is a
  distance of 2.

The networks of a job are trained side by side as one model, each with its own initialisation and
order of examples from its own stream of random numbers: what comes of one does not depend on the
others. Whether a network fits is decided by the exact integer forward pass.
"""

import math
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress

import numpy as np
import torch
import xarray as xr

from volumetry.errors import ConfigError
from volumetry.methods import model, real_model  # noqa: F401, what the model is of real weights
from volumetry.methods.result import SELECTIONS, common_result
from volumetry.methods.training_state import Trained, pack, unpack
from volumetry.networks import Network
from volumetry.networks.forward import count_correct
from volumetry.parameters import check_choices, parameter
from volumetry.runtime.checkpoint import Checkpoint
from volumetry.runtime.progress import Progress
from volumetry.systems.classification import Problem

# Screening in single precision lets through any network whose margins are above minus this
# fraction of the largest logit: rounding is far below it, so it hides no fit.
_SCREENING_SLACK = 1e-4
_SCREENING_BLOCK = 64  # examples


@dataclass(frozen=True)
class GdParameters:
    """Full-batch training.

    Binary weights cannot grow to sharpen the logits, so ``logit_scale`` decides how much examples
    already right still count; at 1 they outweigh the last wrong ones of a large n.
    """

    networks: int = parameter(
        5,
        minimum=1,
        maximum=10_000,
        unit="networks",
        about="Networks trained in each run, each from its own initialisation.",
    )
    max_epochs: int = parameter(
        5000,
        minimum=1,
        unit="epochs",
        stops=True,
        about="Epochs after which a network that never fitted is given up.",
    )
    extra_epochs: int = parameter(
        100,
        minimum=0,
        unit="epochs",
        about="Epochs that follow a network's first fit, as far as `max_epochs` allows.",
    )
    look_every: int = parameter(
        1,
        minimum=1,
        unit="epochs",
        about="Epochs between two looks at a network: whether it fits, and its validation "
        "accuracy if it does.",
    )
    patience: int = parameter(
        0,
        minimum=0,
        unit="looks",
        about="Looks after the first fit without a better validation accuracy that end a "
        "network's training before its `extra_epochs`; 0 for none.",
    )
    learning_rate: float = parameter(
        1e-4, above=0, about="Step size of Adam, in units of the latent weights."
    )
    weight_decay: float = parameter(
        5e-4, minimum=0, about="Multiple of the latent weights added to the gradient."
    )
    logit_scale: float = parameter(
        4.0,
        above=0,
        about="Factor of the logits in the cross-entropy, an inverse temperature.",
    )
    # Of several states with the best validation accuracy, the earliest.
    selection: str = parameter(
        "best_validation",
        choices=SELECTIONS,
        about="The fitting state whose test accuracy counts.",
    )

    def __post_init__(self):
        check_choices(self)


@dataclass(frozen=True)
class SgdParameters(GdParameters):
    """Mini-batch training; the last batch of an epoch may be smaller."""

    batch_size: int = parameter(
        32,
        minimum=1,
        unit="examples",
        about="Examples of one step; the last step of an epoch takes what is left.",
    )


@dataclass(frozen=True)
class SamParameters(SgdParameters):
    """Sharpness-aware mini-batch training.

    The weights have norm sqrt(M) (83 for simple_cnn on 8x8 images, 276 on 28x28) and the nearest
    other network, one flip away, is at distance 2. The default of ``rho`` is a quarter of that: it
    smooths the loss on the scale on which weights can change at all; from about 1 up small networks
    no longer fit large training sets.
    """

    rho: float = parameter(
        0.5,
        minimum=0,
        about="Length of the step up the gradient, where the weights have norm sqrt(M).",
    )


def epochs_after_fit(extra_epochs: int) -> np.ndarray:
    """When networks are tested on the way on: 0, 1, 3, 10, 30, ... epochs after the first fit."""
    steps = [step for power in range(19) for step in (10**power, 3 * 10**power)]
    return np.array([0, *(step for step in steps if step <= extra_epochs)])


def run(
    problem: Problem,
    parameters: GdParameters,
    seed: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Train ``parameters.networks`` networks and measure those that fit the training set.

    Args:
        problem: the network and its examples.
        parameters: of gd, sgd or sam: its type says which.
        seed: at least 0; each network has its own stream of random numbers derived from it.
        threads: not used; one thread is always enough, and makes the sums reproducible.
        device: cpu or cuda. Sums in single precision are rounded differently there: other networks
            come of it, as likely as these.
        checkpoint: of an earlier process; the result does not depend on it.

    Returns:
        The common scalars: the mean selected test accuracy (a fraction) over the networks that
        fitted, its standard error over these networks (NaN below two), ``converged`` if all
        fitted, and the passes summed over the networks. For each ``network``: ``fitted``,
        ``epochs_trained``, for each selection the epoch (-1 if never) and the exact test accuracy
        (NaN if never), ``validation_accuracy``, and ``weights``, its selected state (the state
        training ended with if it never fitted) as ``np.packbits(weights > 0)``. Over
        ``epochs_after_fit``, too: ``test_accuracy_after_fit``, whether it still fits or not (NaN
        where training had ended).

    Raises:
        ConfigError: selection by validation accuracy without validation examples.
    """
    if parameters.selection == "best_validation" and not len(problem.y_validation):
        raise ConfigError(
            "selection: best_validation needs training examples that are not in the training set, "
            f"and none are left beside the {len(problem.y_train)} used: lower n, or set selection "
            "to first_fit or final"
        )
    trained = train(problem, parameters, seed, range(parameters.networks), checkpoint, device)
    return _result(problem, parameters, trained)


@contextmanager
def _one_thread():
    """Torch on one thread, and the caller's setting again afterwards; a GPU sums reproducibly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def train(
    problem: Problem,
    parameters: GdParameters,
    seed: int,
    networks: Iterable[int],
    checkpoint: Checkpoint | None = None,
    device: str = "cpu",
) -> list[Trained]:
    """Train the networks with the given indices side by side, and return what is kept of each."""
    network = problem.network
    generators = [
        np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(index,))))
        for index in networks
    ]
    latents = torch.stack([model.initial_latents(network, rng) for rng in generators]).to(device)
    bound = model.largest_latent(network)
    adam = model.Adam(latents, parameters.learning_rate, parameters.weight_decay, bound)
    x = model.as_images(network, problem.x_train, like=problem.x_train).to(device)
    y = torch.from_numpy(problem.y_train.astype(np.int64)).to(device)
    x_validation = model.as_images(network, problem.x_validation, like=problem.x_train).to(device)
    trained = [Trained.awaiting(epochs_after_fit(parameters.extra_epochs)) for _ in generators]
    running = trained
    progress = Progress(_name(parameters), "epochs")
    checkpoint = checkpoint or Checkpoint()
    epoch = 0
    if 0 < checkpoint.state.get("epoch", 0) <= parameters.max_epochs:
        epoch, running, generators = unpack(checkpoint.state, trained, generators, adam)
    weights = model.weights_of(network, adam.latents)

    while running and epoch < parameters.max_epochs:
        epoch += 1
        for batch in _batches(parameters, len(y), generators):
            adam.step(_direction(network, parameters, weights, x[batch], y[batch]))
            weights = model.weights_of(network, adam.latents)

        states = weights.cpu().numpy().astype(problem.space.dtype)
        for kept, state in zip(running, states):
            kept.epochs, kept.last = epoch, state
        if epoch % parameters.look_every == 0:
            may_fit = _may_fit(network, weights, x, y)
            fitting = [
                row
                for row in range(len(running))
                if may_fit[row]
                and count_correct(network, states[row], problem.x_train, problem.y_train) == len(y)
            ]
            accuracy = _accuracy(network, weights[fitting], x_validation, problem.y_validation)
            for kept in running:
                kept.record_look()
            for row, value in zip(fitting, accuracy):
                running[row].record_fit(value)
        for kept in running:
            if kept.fitted and epoch - kept.epoch["first_fit"] in kept.after_fit:
                kept.after_fit[epoch - kept.epoch["first_fit"]] = _test_accuracy(problem, kept.last)

        unfinished = [
            not kept.fitted
            or (
                epoch < kept.epoch["first_fit"] + parameters.extra_epochs
                and not 0 < parameters.patience <= kept.looks_since_best
            )
            for kept in running
        ]
        if not all(unfinished):
            running = list(compress(running, unfinished))
            generators = list(compress(generators, unfinished))
            keep = torch.tensor(unfinished)
            adam.keep(keep)
            weights = weights[keep]
        n_fitted = sum(kept.fitted for kept in trained)
        progress.update(
            epoch, parameters.max_epochs, f"{n_fitted} of {len(trained)} networks fitted so far"
        )
        if checkpoint.due():
            checkpoint.keep(pack(epoch, trained, running, generators, adam))
    checkpoint.state = pack(epoch, trained, running, generators, adam)
    return trained


def _direction(
    network: Network,
    parameters: GdParameters,
    weights: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
) -> torch.Tensor:
    """What goes straight through to the latents: the gradient in the weights they make.

    For sam it is the gradient at the weights displaced by ``ascend``.
    """
    gradient = model.gradient(network, weights, x, y, parameters.logit_scale)
    if isinstance(parameters, SamParameters):
        weights = weights + model.ascend(gradient, parameters.rho)
        gradient = model.gradient(network, weights, x, y, parameters.logit_scale)
    return gradient


def _batches(
    parameters: GdParameters, n: int, generators: list[np.random.Generator]
) -> Iterable[torch.Tensor]:
    """The batches of one epoch: indices of examples, shape (networks, examples) each."""
    if not isinstance(parameters, SgdParameters):
        return [torch.arange(n).expand(len(generators), n)]
    order = torch.from_numpy(np.stack([rng.permutation(n) for rng in generators]))
    return order.split(parameters.batch_size, dim=1)


def _may_fit(
    network: Network, weights: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Which networks fit all examples as far as rounding can tell: bool, shape (networks,).

    It stops at the first block of examples that rules all of them out.
    """
    fits = torch.ones(len(weights), dtype=torch.bool, device=weights.device)
    for x_block, y_block in zip(x.split(_SCREENING_BLOCK), y.split(_SCREENING_BLOCK)):
        logits = model.logits(network, weights, x_block.expand(len(weights), *x_block.shape))
        right = logits[:, torch.arange(len(y_block), device=y.device), y_block]
        slack = _SCREENING_SLACK * logits.abs().amax(dim=(1, 2)).unsqueeze(1)
        fits &= (right >= logits.amax(dim=2) - slack).all(dim=1)
        if not fits.any():
            break
    return fits


def _accuracy(
    network: Network, weights: torch.Tensor, x: torch.Tensor, y: np.ndarray
) -> np.ndarray:
    """Fraction of these examples each network has right; NaN if there are none."""
    if not len(y) or not len(weights):
        return np.full(len(weights), np.nan)
    logits = model.logits(network, weights, x.expand(len(weights), *x.shape))
    return (logits.argmax(dim=2).cpu().numpy() == y).mean(axis=1)


def _test_accuracy(problem: Problem, weights: np.ndarray | None) -> float:
    """Exact fraction of the test examples that a network has right; NaN without one."""
    if weights is None:
        return math.nan
    return problem.score(weights)


def _name(parameters: GdParameters) -> str:
    return type(parameters).__name__.removesuffix("Parameters").lower()


def _result(problem: Problem, parameters: GdParameters, trained: list[Trained]) -> xr.Dataset:
    accuracy = {
        state: np.array([_test_accuracy(problem, kept.weights.get(state)) for kept in trained])
        for state in SELECTIONS
    }
    selected = accuracy[parameters.selection]
    selected = selected[~np.isnan(selected)]
    n_fitted = len(selected)
    weights = [kept.weights.get(parameters.selection, kept.last) for kept in trained]

    variables = {
        "fitted": ([kept.fitted for kept in trained], "whether it ever fitted all n", np.int8),
        "epochs_trained": ([kept.epochs for kept in trained], "passes it was trained", np.int64),
        "validation_accuracy": (
            [kept.validation_accuracy for kept in trained],
            "best validation accuracy while it fitted all n",
            np.float64,
        ),
    }
    for state, when in zip(SELECTIONS, ("first", "last", "best validated")):
        variables[f"epoch_{state}"] = (
            [kept.epoch[state] for kept in trained],
            f"epoch of the {when} fit, -1 if never",
            np.int64,
        )
        variables[f"test_accuracy_{state}"] = (
            accuracy[state],
            f"test accuracy at the {when} fit",
            np.float64,
        )
    own = {
        name: ("network", np.asarray(values, kind), {"long_name": text, "units": "1"})
        for name, (values, text, kind) in variables.items()
    }
    looks = list(trained[0].after_fit)
    own["test_accuracy_after_fit"] = (
        ("network", "epochs_after_fit"),
        np.array([[kept.after_fit[look] for look in looks] for kept in trained]),
        {"long_name": "test accuracy so many epochs after the first fit", "units": "1"},
    )
    own["epochs_after_fit"] = (
        "epochs_after_fit",
        np.array(looks, np.int64),
        {"long_name": "epochs since the first fit", "units": "1"},
    )
    own["weights"] = (
        ("network", "weight_byte"),
        problem.space.encode(weights),
        {"long_name": f"selected state, {problem.space.encoding}", "units": "1"},
    )
    return common_result(
        test_accuracy=selected.mean() if n_fitted else math.nan,
        test_accuracy_stderr=(
            selected.std(ddof=1) / math.sqrt(n_fitted) if n_fitted > 1 else math.nan
        ),
        test_accuracy_df=n_fitted - 1,
        converged=n_fitted == len(trained),
        verdict=_verdict(len(problem.y_train), trained, parameters.max_epochs),
        epochs=sum(kept.epochs for kept in trained),
    ).assign(own)


def _verdict(n: int, trained: list[Trained], max_epochs: int) -> str:
    fits = [kept.epoch["first_fit"] for kept in trained if kept.fitted]
    if not fits:
        return (
            f"None of the {len(trained)} networks fitted all {n} training examples within "
            f"{max_epochs} epochs, so there is no test accuracy."
        )
    when = f"first fit after {min(fits)} to {max(fits)} epochs"
    if len(fits) == len(trained):
        return f"All {len(trained)} networks fitted all {n} training examples ({when})."
    return (
        f"{len(fits)} of {len(trained)} networks fitted all {n} training examples ({when}); the "
        f"others did not within {max_epochs} epochs and are left out of the test accuracy."
    )
