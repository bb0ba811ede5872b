"""Render the page of the benchmark."""

from volumetry.report.benchmark import render
from volumetry.runtime import netcdf
from volumetry.runtime.files import replacing
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    page = render(netcdf.read(snakemake.input[0]))
    with replacing(snakemake.output[0]) as path:
        path.write_text(page, encoding="utf-8")
