"""Gather all runs into the study's one file."""

from pathlib import Path

from volumetry.results.aggregate import aggregate
from volumetry.runtime import netcdf
from volumetry.runtime.joblog import logged

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
