"""How numbers with intervals, and counts, are written in sentences and tables."""

from collections.abc import Mapping

import numpy as np


def estimate(part: Mapping, name: str, digits: int = 3, sign: str = "+") -> str:
    """A summary as "mean [low, high]", or without an interval as "mean (no error bar)".

    Args:
        part: of a study, or a row of a table, that has the summary at one point.
    """
    mean, low, high = (float(part[f"{name}{end}"]) for end in ("", "_low", "_high"))
    if np.isnan(mean):
        return "–"
    mean, low, high = (f"{x:{sign}.{digits}f}".replace("-", "−") for x in (mean, low, high))
    return f"{mean} (no error bar)" if "nan" in low else f"{mean} [{low}, {high}]"


def starred(part: Mapping, name: str, digits: int = 3, sign: str = "+") -> str:
    """The same, with an asterisk where it rests on a run that did not converge."""
    doubtful = bool(part[f"{name}_converged"] == 0)
    return estimate(part, name, digits, sign) + " *" * doubtful


def counted(number: int, noun: str) -> str:
    """A number and what it counts, in the singular for one."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
