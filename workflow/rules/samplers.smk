# Needs: a dataset and an ordering of its pool. Makes: the result of each sampler on each training
# set. The rules differ only in which samplers they run and in what they ask of the machine; joint
# starts from what others at the same point of the grid found.


rule guess_networks:
    input:
        dataset=rules.prepare_dataset.output[0],
        subset=rules.draw_subset.output[0],
    output:
        f"{R}/runs/{CELL}.nc",
    log:
        f"{R}/logs/runs/{CELL}.log",
    wildcard_constraints:
        sampler="guess_and_check|enumerate",
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb,
        runtime=240,
        gpu=0,
    params:
        runs=runs_of,
        layers=lambda w: config["architectures"][w.architecture]["layers"],
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
            gpu=int(config["device"] == "cuda"),
        message:
            f"{', '.join(TRAINED_HERE)} on {{wildcards.dataset}}, {{wildcards.architecture}}, "
            "n = {wildcards.n}, replicate {wildcards.replicate}"


use rule guess_networks as sample_interpolators with:
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
        sources=of_samplers(
            f"{R}/runs/{CELL}.nc",
            [name for name in METHODS["joint"].starts_from if name in config["samplers"]],
        ),
    wildcard_constraints:
        sampler="joint",
