"""Collect what all runs took."""

from volumetry.joblog import logged
from volumetry.results import seconds

with logged(snakemake.log[0]):
    seconds.write(seconds.collect(snakemake.params.costs), snakemake.output[0])
