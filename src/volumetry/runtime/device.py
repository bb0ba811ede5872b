"""Which device a job computes on."""

import ctypes
from importlib.util import find_spec

from volumetry.errors import ConfigError

ENOUGH_WALKERS = 32
"""Walkers in each window from which on ``auto`` takes a GPU; fewer leave most of it idle."""


def choose(device: str, walkers: int) -> str:
    """The device that a configuration means on this machine: cpu or cuda.

    Args:
        device: auto, cpu or cuda; auto is cuda where that can be and there are enough walkers.
        walkers: in each window.

    Raises:
        ConfigError: cuda, and there is no GPU or no triton.
    """
    if device == "cpu" or (device == "auto" and walkers < ENOUGH_WALKERS):
        return "cpu"
    lacks = _lacks()
    if device == "cuda" and lacks:
        raise ConfigError(
            f'device = "cuda": {lacks}; set auto or cpu, or run the job where there is a GPU'
        )
    return "cpu" if lacks else "cuda"


def _lacks() -> str:
    """What it takes to compute on a GPU and is not there; nothing if all is."""
    if find_spec("triton") is None:
        return "triton is not installed (pip install --editable '.[cuda]'), and compiles kernels"
    if _driver_is_there():
        import torch  # takes seconds

        if torch.cuda.is_available():
            return ""
    return "there is no CUDA GPU on this machine that PyTorch can use"


def _driver_is_there() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
