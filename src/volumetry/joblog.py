"""Where the output of a job goes, and how a job ends on a mistake of the user."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from volumetry.errors import VolumetryError


@contextmanager
def logged(path: str | os.PathLike) -> Iterator[None]:
    """Send all output of this process to a file, from now on.

    A VolumetryError raised inside is written there as its message alone, without a traceback, and
    ends the process with status 1. Where the log cannot take it, it goes where output went before.
    """
    before = os.dup(sys.stderr.fileno())
    with open(path, "w", buffering=1, encoding="utf-8") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    try:
        yield
    except VolumetryError as error:
        message = f"Error: {error}"
        try:
            print(message, file=sys.stderr, flush=True)
        except OSError:  # the disk is full
            os.write(before, f"{message}\n".encode())
        raise SystemExit(1) from None
