"""What a job leaves beside its results: its log and its cost; how it ends on a user's mistake."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from volumetry.errors import VolumetryError
from volumetry.runtime.files import replacing


@contextmanager
def logged(path: str | os.PathLike) -> Iterator[None]:
    """Send all output of this process to a file; after an error, that of its end, too.

    A VolumetryError raised inside is written there as its message alone, without a traceback, and
    ends the process with status 1. Where the log cannot take it, it goes where output went before.
    """
    before = [os.dup(stream.fileno()) for stream in (sys.stdout, sys.stderr)]
    with open(path, "w", buffering=1, encoding="utf-8") as log:
        _redirect(log.fileno(), log.fileno())
    try:
        yield
    except VolumetryError as error:
        message = f"Error: {error}"
        try:
            print(message, file=sys.stderr, flush=True)
        except OSError:  # the disk is full
            os.write(before[1], f"{message}\n".encode())
        raise SystemExit(1) from None
    _redirect(*before)
    for descriptor in before:
        os.close(descriptor)


def _redirect(*descriptors: int) -> None:
    """Send standard output and standard error elsewhere, even what is not written by Python."""
    for stream, descriptor in zip((sys.stdout, sys.stderr), descriptors, strict=True):
        with suppress(OSError):  # the disk is full
            stream.flush()
        os.dup2(descriptor, stream.fileno())


def leave() -> NoReturn:
    """End this process well, at once: taking the modules of torch apart takes half a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def write_cost(path: str | os.PathLike, seconds: float) -> None:
    """Write how long a run took, and the most memory its process has had so far.

    The file is like those of Snakemake's ``benchmark``, which are one for all runs of a job.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    megabytes = peak / (2**20 if sys.platform == "darwin" else 2**10)
    with replacing(path) as temporary:
        temporary.write_text(f"s\tmax_rss\n{seconds:.4g}\t{megabytes:.2f}\n")
