"""Volumetry: how much of weight space fits the data, and how good its typical member is.

Its rooms, from the ground up; each imports only from those before it: ``errors`` and
``parameters``, ``runtime``, ``kernels``, ``weights``, ``networks``, ``datasets``, ``engines``,
``systems``, ``estimate``, ``chains``, ``methods``, ``study``, ``results``, ``benchmark``,
``report``, ``monitor``, ``command``. This file imports nothing by itself, so that a job pays only
for what it uses.
"""

__version__ = "0.1.0"


def open(results_dir="results/default"):
    """The aggregated study of a folder of results, in memory, as an xarray Dataset.

    Args:
        results_dir: as in the configuration of the study; ``results.aggregate`` says what is in it.

    Raises:
        DataError: there is no study, or its file is damaged.
    """
    from pathlib import Path

    from volumetry.runtime import netcdf

    return netcdf.read(Path(results_dir) / "study.nc")
