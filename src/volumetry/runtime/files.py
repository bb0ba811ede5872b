"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from volumetry.errors import StorageError


def check_writable(folder: str | os.PathLike) -> None:
    """Make sure that files can be made in a folder, or where it is to be made.

    Raises:
        StorageError: they cannot.
    """
    folder = Path(folder)
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:  # a name that is too long, or a link to itself
        raise StorageError(
            f"results_dir = {folder}: it cannot be made ({error.strerror}); choose another"
        ) from None
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise StorageError(
            f"results_dir = {folder}: {nearest} is no folder that can be written to; make it one, "
            "or choose another results_dir"
        )


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file that takes the place of ``path`` at the end, whole and on the disk.

    Its name is always the same, so that what a killed process leaves is overwritten by the next.

    Raises:
        StorageError: something cannot be written; ``path`` is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # netCDF4 says RuntimeError where a disk is full
        raise StorageError(
            f"{path} cannot be written ({error}): free some space, or make its folder writable, "
            "and run again"
        ) from None
    finally:
        with suppress(OSError):  # a file that is not there, or a folder that cannot be changed
            temporary.unlink()
