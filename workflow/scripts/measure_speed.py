"""Measure the speed of this machine."""

from volumetry import netcdf
from volumetry.benchmark.run import run
from volumetry.joblog import logged

with logged(snakemake.log[0]):
    result = run(
        snakemake.params.design,
        threads=snakemake.threads,
        code_digest=snakemake.params.code,
    )
    netcdf.write(result, snakemake.output[0])
