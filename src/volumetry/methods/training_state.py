"""What is kept of networks in training, and the same as plain arrays, for their checkpoint."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from volumetry.methods.result import SELECTIONS
from volumetry.runtime.checkpoint import Arrays

_PHILOX = ("counter", "key", "buffer")
_PHILOX_SCALARS = ("buffer_pos", "has_uint32", "uinteger")


@dataclass
class Trained:
    """What is kept of one network; an epoch counts passes, the first being 1, and -1 is never.

    Attributes:
        epochs: passes it was trained for.
        epoch: for each selection, the epoch of the state it picks.
        weights: for each selection that has one, that state: int8, shape (n_weights,), -1 or +1.
        validation_accuracy: the best among its fitting states; a fraction, NaN if there is none.
        looks_since_best: looks at it since that.
        after_fit: {epochs after its first fit: its test accuracy then}; NaN until it gets there.
        last: its weights when training ended, whether they fit or not.
    """

    epochs: int = 0
    epoch: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SELECTIONS, -1))
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    validation_accuracy: float = math.nan
    looks_since_best: int = 0
    after_fit: dict[int, float] = field(default_factory=dict)
    last: np.ndarray | None = None

    @classmethod
    def awaiting(cls, after_fit: Iterable[int]) -> "Trained":
        """A new network, to be tested so many epochs after its first fit."""
        return cls(after_fit=dict.fromkeys(map(int, after_fit), math.nan))

    @property
    def fitted(self) -> bool:
        return "first_fit" in self.weights

    def record_look(self) -> None:
        """Take note that somebody looked; counts from the first fit on."""
        self.looks_since_best += self.fitted

    def record_fit(self, validation_accuracy: float) -> None:
        """Take note that ``last``, the state after the present epoch, fits all n."""
        states = {"final"} if self.fitted else {"first_fit", "final"}
        best = -math.inf if math.isnan(self.validation_accuracy) else self.validation_accuracy
        if validation_accuracy > best:
            self.validation_accuracy, self.looks_since_best = validation_accuracy, 0
            states.add("best_validation")
        for state in states:
            self.epoch[state], self.weights[state] = self.epochs, self.last


def pack(epoch: int, trained, running, generators, adam) -> Arrays:
    """Everything that the epochs after ``epoch`` depend on; copies.

    Args:
        trained: what is kept of every network, and ``running`` of those still in training, to
            whom generators and the rows of Adam's state belong.
    """
    arrays = {
        "epoch": np.int64(epoch),
        "running": np.array([any(kept is one for one in running) for kept in trained]),
        "steps": np.int64(adam.steps),
        "latents": adam.latents.cpu().numpy().copy(),
        "mean": adam.mean.cpu().numpy().copy(),
        "square": adam.square.cpu().numpy().copy(),
        "epochs": np.array([kept.epochs for kept in trained]),
        "validation_accuracy": np.array([kept.validation_accuracy for kept in trained]),
        "looks_since_best": np.array([kept.looks_since_best for kept in trained]),
        "after_fit": np.array([list(kept.after_fit.values()) for kept in trained]),
        "last": np.array([kept.last for kept in trained]),
    }
    for selection in trained[0].epoch:
        arrays[f"epoch_{selection}"] = np.array([kept.epoch[selection] for kept in trained])
        arrays[f"weights_{selection}"] = np.array(
            [kept.weights.get(selection, np.zeros_like(kept.last)) for kept in trained]
        )
    states = [generator.bit_generator.state for generator in generators]
    for name in _PHILOX[:2]:
        arrays[name] = np.array([state["state"][name] for state in states])
    for name in ("buffer", *_PHILOX_SCALARS):
        arrays[name] = np.array([state[name] for state in states])
    return arrays


def unpack(arrays: Arrays, trained, generators, adam) -> tuple[int, list, list]:
    """Put a packed state back into fresh objects.

    Returns:
        The last epoch, what is kept of the networks still in training, and their generators.
    """
    for row, kept in enumerate(trained):
        kept.epochs = int(arrays["epochs"][row])
        kept.validation_accuracy = float(arrays["validation_accuracy"][row])
        kept.looks_since_best = int(arrays["looks_since_best"][row])
        kept.after_fit = dict(zip(kept.after_fit, map(float, arrays["after_fit"][row])))
        kept.last = arrays["last"][row]
        for selection in kept.epoch:
            epoch = int(arrays[f"epoch_{selection}"][row])
            kept.epoch[selection] = epoch
            if epoch >= 0:
                kept.weights[selection] = arrays[f"weights_{selection}"][row]
    rows = np.flatnonzero(arrays["running"])
    generators = [generators[row] for row in rows]
    for i, generator in enumerate(generators):
        state = {name: int(arrays[name][i]) for name in _PHILOX_SCALARS}
        state |= {"bit_generator": "Philox", "buffer": arrays["buffer"][i]}
        state["state"] = {name: arrays[name][i] for name in _PHILOX[:2]}
        generator.bit_generator.state = state
    adam.steps = int(arrays["steps"])
    adam.latents, adam.mean, adam.square = (
        torch.tensor(arrays[name], device=adam.latents.device)
        for name in ("latents", "mean", "square")
    )
    return int(arrays["epoch"]), [trained[row] for row in rows], generators
