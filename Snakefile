# Volumetry: how much better than a typical interpolator is what gradient descent finds?
#
#   snakemake --cores all                                         the default study
#   snakemake --cores all --configfile config/smoke.yaml          another one
#   snakemake --cores all benchmark                               how fast this machine is
#
# dataset -> nested subsets -> for each (dataset, architecture, n, replicate) a job of each sampler,
#         gd, sgd and sam in one -> study.nc -> charts -> report.html

from snakemake.utils import min_version

min_version("9.27")


# A configuration named on the command line takes the place of the default one: were they merged,
# the datasets of both would be run.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


onstart:
    print(
        f"\nStudy {R}: {len(STUDY.runs)} runs; what is done already is not done again.\n"
        f"Watch it from another terminal: volumetry monitor {R} --watch 10\n"
    )


onsuccess:
    answer = Path(R) / "answer.txt"
    if answer.exists():
        print(
            f"\n{answer.read_text(encoding='utf-8').splitlines()[0]}\nReport: {R}/report.html\n"
        )


include: "workflow/rules/common.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/samplers.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/benchmark.smk"


# On the machine that submits: a download may need it, and the other takes no time.
localrules:
    prepare_dataset,
    save_config,


rule all:
    default_target: True
    input:
        f"{R}/report.html",
        f"{R}/study.nc",
        f"{R}/seconds.csv",
        rules.export_tables.output,
        rules.draw_charts.output,
    message:
        "The study is complete: {input[0]}"
