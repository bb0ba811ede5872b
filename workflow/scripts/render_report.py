"""Render the report."""

from pathlib import Path

from volumetry.report.page import render
from volumetry.results import seconds
from volumetry.runtime import netcdf
from volumetry.runtime.files import replacing
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    page = render(
        netcdf.read(snakemake.input.study),
        seconds.read(snakemake.input.seconds),
        Path(snakemake.input.config).read_text(encoding="utf-8"),
    )
    with replacing(snakemake.output[0]) as path:
        path.write_text(page, encoding="utf-8")
