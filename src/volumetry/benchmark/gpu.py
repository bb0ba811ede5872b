"""Moves a second on a GPU against the number of walkers."""

import torch
import xarray as xr

from volumetry.benchmark.design import Design


def measure(design: Design) -> xr.Dataset:
    """Moves a second over (walkers, repetition); empty where there is no GPU to run on."""
    if not torch.cuda.is_available():
        return xr.Dataset()
    # The samplers compute on the CPU. What makes them run on a GPU puts here
    # ``gpu_moves_per_second`` (walkers, repetition), in s-1; the page draws it if it is there.
    return xr.Dataset()
