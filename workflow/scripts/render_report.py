"""Render the report, and its answer as plain text."""

from pathlib import Path

from volumetry.report.answer import headlines
from volumetry.report.page import render
from volumetry.results import seconds
from volumetry.runtime import netcdf
from volumetry.runtime.files import replacing
from volumetry.runtime.joblog import logged

with logged(snakemake.log[0]):
    study = netcdf.read(snakemake.input.study)
    page = render(
        study,
        seconds.read(snakemake.input.seconds),
        Path(snakemake.input.config).read_text(encoding="utf-8"),
    )
    with replacing(snakemake.output[0]) as report, replacing(snakemake.output.answer) as answer:
        report.write_text(page, encoding="utf-8")
        answer.write_text("\n\n".join(headlines(study)) + "\n", encoding="utf-8")
