"""How numbers with intervals, and counts, are written in sentences and tables."""

import numpy as np
import xarray as xr


def estimate(part: xr.Dataset, name: str, digits: int = 3, sign: str = "+") -> str:
    """A summary as "mean [low, high]", or without an interval as "mean (no error bar)"."""
    mean, low, high = (float(part[f"{name}{end}"]) for end in ("", "_low", "_high"))
    if np.isnan(mean):
        return "–"
    mean, low, high = (f"{x:{sign}.{digits}f}".replace("-", "−") for x in (mean, low, high))
    return f"{mean} (no error bar)" if "nan" in low else f"{mean} [{low}, {high}]"


def counted(number: int, noun: str) -> str:
    """A number and what it counts, in the singular for one."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
