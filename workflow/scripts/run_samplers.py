"""Run samplers on one training subset, one after the other."""

import gc

gc.disable()  # imports make no garbage, and looking for it takes a sixth of their time

from pathlib import Path

from volumetry.runtime import netcdf
from volumetry.runtime.joblog import leave, logged
from volumetry.study.job import Task, run_job

gc.freeze()
gc.enable()

wildcards, results = snakemake.wildcards, Path(snakemake.config["results_dir"])

for run, output, log in zip(snakemake.params.runs, snakemake.output, snakemake.log, strict=True):
    with logged(log):
        result = run_job(
            snakemake.input.dataset,
            snakemake.input.subset,
            {
                "dataset": wildcards.dataset,
                "architecture": wildcards.architecture,
                "n": int(wildcards.n),
                "replicate": int(wildcards.replicate),
                "sampler": run["sampler"],
            },
            Task(
                **run["task"],
                architecture=snakemake.params.architecture,
                code_digest=snakemake.params.code,
            ),
            threads=snakemake.threads,
            # No parameter of the rule: results of all devices are the same, and stay valid.
            device=snakemake.config["device"],
            source_paths=snakemake.input.get("sources", []),
            # Beside the results, and no outputs: Snakemake removes those of a job that did not end.
            checkpoint_path=results / "checkpoints" / run["cell"],
            checkpoint_seconds=snakemake.config["checkpoint_seconds"],
            cost_path=results / "benchmarks" / "runs" / f"{run['cell']}.tsv",
        )
        netcdf.write(result, output)
leave()
