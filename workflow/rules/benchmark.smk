# Needs: nothing of a study. Makes: how fast moves, guesses, training and start-up are on this
# machine, beside plain baselines and the hardware's limit. Only on request:
#
#   snakemake --cores all benchmark              minutes; results/benchmark.html
#   snakemake --cores all benchmark_quick        seconds; shows only that everything runs


wildcard_constraints:
    benchmark="benchmark|benchmark_quick",


rule measure_speed:
    output:
        f"{R}/{{benchmark}}.nc",
    log:
        f"{R}/logs/{{benchmark}}.log",
    benchmark:
        f"{R}/benchmarks/{{benchmark}}.tsv"
    conda:
        "../../envs/volumetry.yaml"
    # All there are, so that nothing runs beside it; known only where the machine is this one.
    threads: lambda w: workflow.cores
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=0,
    params:
        design=lambda w: "quick" if w.benchmark.endswith("quick") else "full",
        code=lambda w: code("measure_speed.py", *(m.module for m in METHODS.values())),
    message:
        "Measuring speed ({wildcards.benchmark}); leave the machine alone meanwhile"
    script:
        "../scripts/measure_speed.py"


rule render_benchmark:
    input:
        rules.measure_speed.output,
    output:
        f"{R}/{{benchmark}}.html",
    log:
        f"{R}/logs/render_{{benchmark}}.log",
    benchmark:
        f"{R}/benchmarks/render_{{benchmark}}.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=lambda w: code("render_benchmark.py"),
    message:
        "Rendering the page of the benchmark"
    script:
        "../scripts/render_benchmark.py"


rule benchmark:
    input:
        f"{R}/benchmark.html",
    message:
        "The benchmark is complete: {input}"


rule benchmark_quick:
    input:
        f"{R}/benchmark_quick.html",
    message:
        "The quick benchmark is complete: {input}"
