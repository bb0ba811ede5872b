"""The state of a training run as plain arrays, for its checkpoint."""

import numpy as np
import torch

from volumetry.runtime.checkpoint import Arrays

_PHILOX = ("counter", "key", "buffer")
_PHILOX_SCALARS = ("buffer_pos", "has_uint32", "uinteger")


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
