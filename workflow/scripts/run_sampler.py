"""Run one sampler on one training subset."""

from pathlib import Path

from volumetry import netcdf
from volumetry.joblog import logged
from volumetry.samplers.job import run_job

with logged(snakemake.log[0]):
    wildcards = snakemake.wildcards
    result = run_job(
        snakemake.input.dataset,
        snakemake.input.subset,
        {
            "dataset": wildcards.dataset,
            "architecture": wildcards.architecture,
            "n": int(wildcards.n),
            "replicate": int(wildcards.replicate),
            "sampler": wildcards.sampler,
        },
        module=snakemake.params.module,
        layers=snakemake.params.layers,
        parameters=snakemake.params.parameters,
        seed=snakemake.params.seed,
        code_digest=snakemake.params.code,
        threads=snakemake.threads,
        # No parameter of the rule: results of all devices are the same, and stay valid.
        device=snakemake.config["device"],
        source_paths=snakemake.input.get("sources", []),
        # Beside the results, and no output: Snakemake removes those of a job that did not end.
        checkpoint_path=Path(snakemake.config["results_dir"], "checkpoints", *wildcards),
        checkpoint_seconds=snakemake.config["checkpoint_seconds"],
    )
    netcdf.write(result, snakemake.output[0])
