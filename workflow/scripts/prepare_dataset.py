"""Read one dataset and write it as NetCDF."""

from volumetry import datasets
from volumetry.datasets.storage import dataset_to_xarray
from volumetry.runtime import netcdf
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    spec = snakemake.params.spec
    dataset = datasets.load(spec, snakemake.config["data_dir"])
    netcdf.write(dataset_to_xarray(dataset, spec), snakemake.output[0])
