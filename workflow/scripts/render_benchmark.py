"""Render the page of the benchmark."""

from pathlib import Path

from volumetry import netcdf
from volumetry.joblog import logged
from volumetry.report.benchmark import render

with logged(snakemake.log[0]):
    page = render(netcdf.read(snakemake.input[0]))
    Path(snakemake.output[0]).write_text(page, encoding="utf-8")
