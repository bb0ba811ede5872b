"""The samplers: problem, parameters and seed in, one dataset of a common schema out.

This file imports none of them, so that a job pays only for the one it runs.
"""

from collections.abc import Callable
from importlib import import_module

from volumetry.errors import ConfigError, NetworkError

SAMPLERS: dict[str, str] = {
    "gd": "volumetry.samplers.training",
    "sgd": "volumetry.samplers.training",
    "sam": "volumetry.samplers.training",
    "guess_and_check": "volumetry.samplers.guess_and_check",
    "rewl": "volumetry.samplers.rewl",
    "joint": "volumetry.samplers.joint",
    "enumerate": "volumetry.samplers.enumeration",
}
"""The module of each sampler: ``PARAMETERS[name]`` is its frozen dataclass of parameters, and
``run(problem, parameters, seed, *, threads=1, checkpoint=None)`` returns its ``xarray.Dataset``.
One that is in ``STARTS_FROM`` also takes ``sources``, {sampler: its result on the same problem};
one with ``DEVICES``, the names of those it can compute on, also takes ``device``. ``STOPPING``
names the parameters that only decide when to stop: a run that asks for more of those goes on from
the checkpoint of one that asked for less."""

STARTS_FROM: dict[str, tuple[str, ...]] = {"joint": ("rewl", "gd", "sgd", "sam")}
"""Samplers that start from results of others: the first is required, the rest serve if they run."""


def load(name: str) -> tuple[type, Callable]:
    """Import a sampler.

    Returns:
        Its dataclass of parameters, and its ``run``.

    Raises:
        ConfigError: there is no sampler of this name.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"unknown sampler {name!r}: choose one of {', '.join(SAMPLERS)}")
    module = import_module(SAMPLERS[name])
    return module.PARAMETERS[name], module.run


def check_enumerable(n_weights: int, max_weights: int) -> None:
    """Refuse to enumerate a network with too many weights.

    Raises:
        NetworkError: more weights than ``max_weights``.
    """
    if n_weights > max_weights:
        raise NetworkError(
            f"enumerate would visit all 2^{n_weights} weight settings, and max_weights = "
            f"{max_weights}: use fewer inputs or a smaller network, raise max_weights (each more "
            "doubles the time), or measure with rewl"
        )
