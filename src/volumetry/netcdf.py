"""NetCDF files that are whole, and the same bytes for the same content."""

import os
import tempfile
from pathlib import Path

import xarray as xr


def write(dataset: xr.Dataset, path: str | os.PathLike) -> None:
    """Write ``dataset`` to ``path`` with zlib compression; the file appears whole or not at all.

    The bytes depend only on the content: no time stamp, no host name. Numeric variables are
    compressed; strings are left as they are (netCDF4 cannot compress variable-length strings).

    Raises:
        OSError: the folder cannot be written; no partial file remains.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = {
        name: {"zlib": True, "complevel": 4}
        for name, variable in dataset.variables.items()
        if variable.dtype.kind in "iufb" and variable.ndim
    }
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: str | os.PathLike) -> xr.Dataset:
    """Read the whole file into memory and close it."""
    return xr.load_dataset(path, engine="netcdf4")
