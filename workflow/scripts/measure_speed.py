"""Measure the speed of this machine."""

from volumetry.benchmark.run import run
from volumetry.runtime import netcdf
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    result = run(
        snakemake.params.design,
        threads=snakemake.threads,
        code_digest=snakemake.params.code,
    )
    netcdf.write(result, snakemake.output[0])
