"""Write the tables of runs and networks."""

from pathlib import Path

from volumetry.results import seconds
from volumetry.results.tables import write_tables
from volumetry.runtime import netcdf
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    write_tables(
        netcdf.read(snakemake.input.study),
        seconds.read(snakemake.input.seconds),
        Path(snakemake.output[0]).parent,
    )
