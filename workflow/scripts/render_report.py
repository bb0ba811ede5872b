"""Render the report."""

from pathlib import Path

from volumetry import netcdf
from volumetry.files import replacing
from volumetry.joblog import logged
from volumetry.report.page import render
from volumetry.results import seconds

with logged(snakemake.log[0]):
    page = render(
        netcdf.read(snakemake.input.study),
        seconds.read(snakemake.input.seconds),
        Path(snakemake.input.config).read_text(encoding="utf-8"),
    )
    with replacing(snakemake.output[0]) as path:
        path.write_text(page, encoding="utf-8")
