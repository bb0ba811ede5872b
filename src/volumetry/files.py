"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volumetry.errors import StorageError


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
