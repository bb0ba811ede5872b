"""Draw the training subsets of one replicate."""

from volumetry.datasets.storage import draw_subset_of
from volumetry.runtime import netcdf
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    subset = draw_subset_of(
        netcdf.read(snakemake.input[0]),
        n_validation=snakemake.params.n_validation,
        label_noise=snakemake.params.label_noise,
        seed=snakemake.params.seed,
    )
    netcdf.write(subset, snakemake.output[0])
