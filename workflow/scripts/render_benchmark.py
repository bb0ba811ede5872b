"""Render the page of the benchmark."""

from volumetry import netcdf
from volumetry.files import replacing
from volumetry.joblog import logged
from volumetry.report.benchmark import render

with logged(snakemake.log[0]):
    page = render(netcdf.read(snakemake.input[0]))
    with replacing(snakemake.output[0]) as path:
        path.write_text(page, encoding="utf-8")
