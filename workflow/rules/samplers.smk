# Needs: a dataset and an ordering of its pool. Makes: the result of one sampler on one training set.
# The rules differ only in which samplers they run and in what they ask of the machine; joint starts
# from what others of the same cell found.


rule train_networks:
    input:
        dataset=rules.prepare_dataset.output[0],
        subset=rules.draw_subset.output[0],
    output:
        f"{R}/runs/{CELL}.nc",
    log:
        f"{R}/logs/runs/{CELL}.log",
    benchmark:
        f"{R}/benchmarks/runs/{CELL}.tsv"
    wildcard_constraints:
        sampler="gd|sgd|sam",
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb,
        runtime=240,
        gpu=int(config["device"] == "cuda"),
    params:
        module=lambda w: SAMPLERS[w.sampler],
        parameters=lambda w: config["samplers"][w.sampler],
        layers=lambda w: config["architectures"][w.architecture]["layers"],
        seed=lambda w: job_seed(config["seed"], "run", CELL.format(**w)),
        code=lambda w: code("run_sampler.py", SAMPLERS[w.sampler]),
    message:
        "{wildcards.sampler} on {wildcards.dataset}, {wildcards.architecture}, "
        "n = {wildcards.n}, replicate {wildcards.replicate}"
    script:
        "../scripts/run_sampler.py"


use rule train_networks as guess_networks with:
    wildcard_constraints:
        sampler="guess_and_check|enumerate",
    resources:
        mem_mb=memory_mb,
        runtime=240,
        gpu=0,


use rule train_networks as sample_interpolators with:
    wildcard_constraints:
        sampler="rewl",
    # The longest jobs first, so that none is left over at the end.
    priority: 1
    # Walker sets run side by side where there are few long jobs rather than many short ones.
    threads: lambda w: 4 if int(w.n) >= 100 else 1
    resources:
        mem_mb=memory_mb,
        runtime=1440,
        gpu=int(config["device"] == "cuda"),


use rule sample_interpolators as sample_jointly with:
    input:
        dataset=rules.prepare_dataset.output[0],
        subset=rules.draw_subset.output[0],
        sources=lambda w: [
            f"{R}/runs/{CELL}.nc".format(**(dict(w) | {"sampler": source}))
            for source in STARTS_FROM["joint"]
            if source in config["samplers"]
        ],
    wildcard_constraints:
        sampler="joint",
