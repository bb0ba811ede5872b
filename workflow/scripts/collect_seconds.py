"""Collect what all runs took."""

from volumetry.results import seconds
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    seconds.write(seconds.collect(snakemake.params.costs), snakemake.output[0])
