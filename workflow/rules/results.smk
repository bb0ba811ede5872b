# Needs: the results of all sampler jobs. Makes: the study in one file, what it cost, charts and the
# report.


rule save_config:
    output:
        f"{R}/config.yaml",
    log:
        f"{R}/logs/save_config.log",
    benchmark:
        f"{R}/benchmarks/save_config.tsv"
    # First of all: volumetry.monitor learns from this file what the study consists of.
    priority: 2
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        config=STUDY.config,
        code=code("save_config.py"),
    message:
        "Saving the configuration, defaults included"
    script:
        "../scripts/save_config.py"


rule aggregate_runs:
    input:
        runs=all_cells(f"{R}/runs/{CELL}.nc"),
        # By its name: beside a reference to a rule's output, Snakemake takes a time quadratic in
        # the number of runs.
        config=f"{R}/config.yaml",
    output:
        report(
            f"{R}/study.nc",
            caption="../report/study.rst",
            category="Results",
        ),
    log:
        f"{R}/logs/aggregate_runs.log",
    benchmark:
        f"{R}/benchmarks/aggregate_runs.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("aggregate_runs.py"),
    message:
        "Aggregating {n_runs} runs".format(n_runs=len(STUDY.runs))
    script:
        "../scripts/aggregate_runs.py"


rule collect_seconds:
    input:
        # What they took stands beside them, but is no input: it changes when nothing else does.
        all_cells(f"{R}/runs/{CELL}.nc"),
    output:
        f"{R}/seconds.csv",
    log:
        f"{R}/logs/collect_seconds.log",
    benchmark:
        f"{R}/benchmarks/collect_seconds.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=15,
    params:
        costs=all_cells(f"{R}/benchmarks/runs/{CELL}.tsv"),
        code=code("collect_seconds.py"),
    message:
        "Collecting the run times"
    script:
        "../scripts/collect_seconds.py"


rule export_tables:
    input:
        study=rules.aggregate_runs.output[0],
        seconds=rules.collect_seconds.output[0],
    output:
        [f"{R}/{name}" for name in ("runs.csv", "networks.csv", "columns.csv")],
    log:
        f"{R}/logs/export_tables.log",
    benchmark:
        f"{R}/benchmarks/export_tables.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=code("export_tables.py"),
    message:
        "Writing the tables"
    script:
        "../scripts/export_tables.py"


rule draw_charts:
    input:
        rules.aggregate_runs.output,
    output:
        svg=[
            report(
                f"{R}/charts/{chart.name}.svg",
                caption=f"../report/{chart.name}.rst",
                category="Charts",
                labels={"chart": chart.title},
            )
            for chart in CHARTS
        ],
        png=[f"{R}/charts/{chart.name}.png" for chart in CHARTS],
    log:
        f"{R}/logs/draw_charts.log",
    benchmark:
        f"{R}/benchmarks/draw_charts.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        captions={chart.name: f"{chart.caption} {catalogue.MARKS}" for chart in CHARTS},
        code=code("draw_charts.py", *(chart.module for chart in CHARTS)),
    message:
        "Drawing the charts"
    script:
        "../scripts/draw_charts.py"


rule paper_figures:
    input:
        rules.aggregate_runs.output,
    output:
        [
            f"{R}/paper/{chart.name}_{columns}.{kind}"
            for chart in CHARTS
            for columns in ("single", "double")
            for kind in ("svg", "png", "pdf")
        ],
    log:
        f"{R}/logs/paper_figures.log",
    benchmark:
        f"{R}/benchmarks/paper_figures.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=code("draw_paper_figures.py", *(chart.module for chart in CHARTS)),
    message:
        "Drawing the figures for a paper"
    script:
        "../scripts/draw_paper_figures.py"


rule render_report:
    input:
        study=rules.aggregate_runs.output[0],
        seconds=rules.collect_seconds.output[0],
        config=rules.save_config.output[0],
    output:
        report(
            f"{R}/report.html",
            caption="../report/report.rst",
            category="Results",
        ),
        answer=f"{R}/answer.txt",
    log:
        f"{R}/logs/render_report.log",
    benchmark:
        f"{R}/benchmarks/render_report.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=code("render_report.py", *(chart.module for chart in CHARTS)),
    message:
        "Rendering the report"
    script:
        "../scripts/render_report.py"
