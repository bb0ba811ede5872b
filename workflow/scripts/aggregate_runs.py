"""Gather all runs into the study's one file."""

from pathlib import Path

from volumetry import netcdf
from volumetry.joblog import logged
from volumetry.results.aggregate import aggregate

with logged(snakemake.log[0]):
    study = aggregate(
        snakemake.input.runs,
        datasets=list(snakemake.config["datasets"]),
        architectures=list(snakemake.config["architectures"]),
        attributes={
            "config": Path(snakemake.input.config).read_text(encoding="utf-8"),
            "study_seed": snakemake.config["seed"],
        },
    )
    netcdf.write(study, snakemake.output[0])
