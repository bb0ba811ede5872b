"""NetCDF files that are whole, and the same bytes for the same content."""

import os

import netCDF4  # noqa: F401  the engine, named so that a result tells its version
import numpy as np
import xarray as xr

from volumetry.errors import DataError
from volumetry.runtime.files import replacing


def described(dims, values, long_name: str, units: str = "1") -> tuple:
    """A variable, with what a reader of the file has to know of it."""
    return dims, np.asarray(values), {"long_name": long_name, "units": units}


def write(dataset: xr.Dataset, path: str | os.PathLike) -> None:
    """Write ``dataset`` to ``path`` with zlib compression; the file appears whole or not at all.

    The bytes depend only on the content: no time stamp, no host name. Numeric variables are
    compressed; strings are left as they are (netCDF4 cannot compress variable-length strings).

    Raises:
        StorageError: it cannot be written; no partial file remains.
    """
    encoding = {
        name: {"zlib": True, "complevel": 4}
        for name, variable in dataset.variables.items()
        if variable.dtype.kind in "iufb" and variable.ndim
    }
    with replacing(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)


def read(path: str | os.PathLike) -> xr.Dataset:
    """Read the whole file into memory and close it.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    try:
        return xr.load_dataset(path, engine="netcdf4")
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as NetCDF ({error}): delete it and run again, which makes it "
            "anew"
        ) from None
