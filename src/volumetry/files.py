"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volumetry.errors import StorageError


def check_writable(folder: str | os.PathLike) -> None:
    """Make sure that files can be made in a folder, or where it is to be made.

    Raises:
        StorageError: they cannot.
    """
    folder = Path(folder)
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise StorageError(
            f"results_dir = {folder}: {nearest} is no folder that can be written to; make it one, "
            "or choose another results_dir"
        )


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file that takes the place of ``path`` at the end, whole and on the disk.

    Raises:
        StorageError: something cannot be written; ``path`` is as it was.
    """
    path, temporary, handle = Path(path), None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
        yield Path(temporary)
        os.fchmod(handle, 0o644)
        os.fsync(handle)
        os.replace(temporary, path)
        temporary = None
    except (OSError, RuntimeError) as error:  # netCDF4 says RuntimeError where a disk is full
        raise StorageError(
            f"{path} cannot be written ({error}): free some space, or make its folder writable, "
            "and run again"
        ) from None
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            os.unlink(temporary)
