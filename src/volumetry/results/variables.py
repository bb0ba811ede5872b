"""How a variable is added to a study."""

import xarray as xr

from volumetry.results import statistics
from volumetry.runtime.netcdf import cf_attributes


def put(
    study: xr.Dataset, name: str, values: xr.DataArray, long_name: str, units: str = "1"
) -> None:
    """Add a variable with what it is; units as for ``netcdf.cf_attributes``."""
    study[name] = values
    study[name].attrs = cf_attributes(long_name, units)


def put_mean(
    study: xr.Dataset,
    name: str,
    values: xr.DataArray,
    stderr: xr.DataArray,
    df: xr.DataArray,
    converged: xr.DataArray,
    quantity: str,
    units: str = "1",
    bounds: tuple[float, float] | None = None,
) -> None:
    """The mean over replicates with its interval, and on how many and how good runs it rests.

    Args:
        values, stderr, df, converged: one entry for each replicate, as in
            ``statistics.replicate_interval``; ``converged`` is 1 or 0.
        quantity: what it is the mean of.
        bounds: that the quantity cannot leave, nor its interval.
    """
    interval = statistics.replicate_interval(values, stderr, df)
    if bounds:
        interval = statistics.within(interval, *bounds)
    put(study, name, interval["mean"], f"{quantity}, mean over replicates", units)
    for end, words in (("low", "lower"), ("high", "upper")):
        about = f"{quantity}, {words} end of the 95 % interval"
        put(study, f"{name}_{end}", interval[end], about, units)
    entered = interval["replicates"]
    put(study, f"{name}_replicates", entered, f"{quantity}, replicates that enter", "count")
    flag = converged.min("replicate").where(entered > 0)
    about = f"{quantity}: whether every run it is made of converged"
    put(study, f"{name}_converged", flag, about, "flag")
