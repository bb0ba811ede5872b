# Needs: a dataset and an ordering of its pool. Makes: the result of each sampler on each training
# set; some start from what others at the same point of the grid found. The rules differ only in
# which kinds of samplers they run and in what they ask of the machine.

CHAINS = of_kind(SAMPLED, METHODS)
FIRST = [name for name in CHAINS if not METHODS[name].starts_from]


rule guess_networks:
    input:
        dataset=rules.prepare_dataset.output[0],
        subset=rules.draw_subset.output[0],
        sources=sources_of,
    output:
        f"{R}/runs/{CELL}.nc",
    log:
        f"{R}/logs/runs/{CELL}.log",
    wildcard_constraints:
        sampler=any_of(set(METHODS) - set(CHAINS) - set(of_kind(TRAINED, METHODS))),
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb,
        runtime=240,
        gpu=gpus,
    params:
        runs=runs_of,
        architecture=lambda w: config["architectures"][w.architecture],
        code=lambda w: code(
            "run_samplers.py", *(METHODS[name].module for name in samplers_of(w))
        ),
    message:
        "{wildcards.sampler} on {wildcards.dataset}, {wildcards.architecture}, "
        "n = {wildcards.n}, replicate {wildcards.replicate}"
    script:
        "../scripts/run_samplers.py"


# All in one job: on small training sets, starting torch takes longer than training. What one of
# them kept in its checkpoint is not trained again when it is another that has changed.
if TRAINED_HERE:

    use rule guess_networks as train_networks with:
        output:
            of_samplers(f"{R}/runs/{CELL}.nc", TRAINED_HERE),
        log:
            of_samplers(f"{R}/logs/runs/{CELL}.log", TRAINED_HERE),
        resources:
            mem_mb=memory_mb,
            runtime=240,
            gpu=gpus,
        message:
            f"{', '.join(TRAINED_HERE)} on {{wildcards.dataset}}, {{wildcards.architecture}}, "
            "n = {wildcards.n}, replicate {wildcards.replicate}"


use rule guess_networks as sample_interpolators with:
    wildcard_constraints:
        sampler=any_of(FIRST),
    # The longest jobs first, so that none is left over at the end.
    priority: 1
    # Walker sets run side by side where there are few long jobs rather than many short ones.
    threads: lambda w: 4 if int(w.n) >= 100 else 1
    resources:
        mem_mb=memory_mb,
        runtime=1440,
        gpu=gpus,


use rule sample_interpolators as sample_jointly with:
    wildcard_constraints:
        sampler=any_of(set(CHAINS) - set(FIRST)),
