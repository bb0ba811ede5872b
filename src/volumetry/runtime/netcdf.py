"""NetCDF files that are whole, and the same bytes for the same content."""

import os
from typing import Any

import netCDF4  # noqa: F401  the engine, named so that a result tells its version
import numpy as np
import xarray as xr

from volumetry.errors import DataError
from volumetry.runtime.files import replacing

_MISSING = -1
"""Stands for NaN where numbers are written as integers."""


def cf_attributes(long_name: str, units: str = "1") -> dict:
    """What a reader of the file has to know of a variable, as the CF conventions have it.

    Args:
        units: that UDUNITS knows; ``count`` for numbers that are written as integers, ``flag`` for
            0 and 1, and ``nat``, which it does not know.
    """
    if units == "flag":
        flags = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "no yes"}
        return {"long_name": long_name, **flags}
    if units == "nat":
        return {"long_name": f"{long_name} (nats)", "units": "1"}
    return {"long_name": long_name, "units": units}


def described(dims, values, long_name: str, units: str = "1") -> tuple:
    """A variable with its ``cf_attributes``."""
    return dims, np.asarray(values), cf_attributes(long_name, units)


def write(dataset: xr.Dataset, path: str | os.PathLike) -> None:
    """Write ``dataset`` to ``path`` with zlib compression; the file appears whole or not at all.

    The bytes depend only on the content: no time stamp, no host name. Numeric variables are
    compressed; strings are left as they are (netCDF4 cannot compress variable-length strings).

    Raises:
        StorageError: it cannot be written; no partial file remains.
    """
    encoding = {
        name: _stored_as(variable)
        for name, variable in dataset.variables.items()
        if variable.dtype.kind in "iufb"
    }
    with replacing(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)


def _stored_as(variable: xr.Variable) -> dict:
    stored: dict[str, Any] = {"zlib": True, "complevel": 4} if variable.ndim else {}
    if variable.dtype.kind == "f":
        if "flag_values" in variable.attrs:
            stored |= {"dtype": "int8", "_FillValue": np.int8(_MISSING)}
        elif variable.attrs.get("units") == "count":
            stored |= {"dtype": "int64", "_FillValue": np.int64(_MISSING)}
    return stored


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
