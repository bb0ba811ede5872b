# Needs: the dataset files, bundled, local or downloaded. Makes: one file for each dataset, and for
# each replicate the ordering of its pool whose first n entries are the training set D_n.


rule prepare_dataset:
    input:
        # A user's own file; the others never change.
        lambda w: config["datasets"][w.dataset].get("path", []),
    output:
        f"{R}/datasets/{{dataset}}.nc",
    log:
        f"{R}/logs/datasets/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/datasets/{{dataset}}.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        spec=lambda w: dataset_options(w.dataset),
        code=lambda w: code(
            "prepare_dataset.py", SOURCES[config["datasets"][w.dataset]["source"]]
        ),
    message:
        "Reading dataset {wildcards.dataset}"
    script:
        "../scripts/prepare_dataset.py"


rule draw_subset:
    input:
        rules.prepare_dataset.output,
    output:
        f"{R}/subsets/{{dataset}}/r{{replicate}}.nc",
    log:
        f"{R}/logs/subsets/{{dataset}}/r{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/subsets/{{dataset}}/r{{replicate}}.tsv"
    conda:
        "../../envs/volumetry.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        n_validation=lambda w: config["datasets"][w.dataset]["n_validation"],
        label_noise=lambda w: config["datasets"][w.dataset]["label_noise"],
        # Without the dataset's name: two datasets that differ in their options only, such as label
        # noise, are compared on the same examples.
        seed=lambda w: job_seed(config["seed"], "subset", int(w.replicate)),
        code=code("draw_subset.py"),
    message:
        "Drawing the training subsets of {wildcards.dataset}, replicate {wildcards.replicate}"
    script:
        "../scripts/draw_subset.py"
