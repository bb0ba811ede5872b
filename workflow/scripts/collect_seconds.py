"""Collect run times and memory of all runs from their benchmark files."""

from volumetry.joblog import logged
from volumetry.results import seconds

with logged(snakemake.log[0]):
    seconds.write(seconds.collect(snakemake.params.benchmarks), snakemake.output[0])
