# What all rules share: the checked configuration, names of files, seeds and digests of code.

from functools import cache
from pathlib import Path

from volumetry.datasets import SOURCES
from volumetry.errors import VolumetryError
from volumetry.report import catalogue
from volumetry.runtime.files import check_writable
from volumetry.runtime.provenance import code_digest, packages
from volumetry.study.config import read, resolve
from volumetry.study.grid import CELL, Run
from volumetry.study.registry import METHODS, SAMPLED, TRAINED, of_kind
from volumetry.study.seeds import job_seed

try:
    for path in workflow.configfiles:
        read(path)  # Snakemake does not see a key that stands twice
    STUDY = resolve(config, workflow.source_path("../schemas/config.schema.yaml"))
    check_writable(STUDY.config["results_dir"])
except VolumetryError as error:
    # Not a WorkflowError: Snakemake would add lines of this file, and the mistake is not here.
    raise SystemExit(f"Error in the configuration:\n{error}") from None

config.update(STUDY.config)

# Old versions of bash would stay between Snakemake and a script, die of a signal, and leave the
# script alone with it.
shell.prefix("set -euo pipefail; exec ")

R = config["results_dir"].rstrip("/")
TRAINED_HERE = of_kind(TRAINED, config["samplers"])
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
CHARTS = catalogue.of_study(
    config["samplers"],
    len(config["datasets"]),
    len(config["architectures"]),
    {about.system for about in STUDY.descriptions.values()},
)


wildcard_constraints:
    dataset="|".join(config["datasets"]),
    architecture="|".join(config["architectures"]),
    n=r"\d+",
    replicate=r"\d+",
    sampler="|".join(config["samplers"]),


def any_of(names):
    """A pattern for the wildcard of a rule that runs these samplers; of none, it fits nothing."""
    return "|".join(sorted(names)) or "(?!)"


def all_cells(pattern):
    """The files of every run of the study, by a pattern with the wildcards of CELL."""
    return [pattern.format(**run._asdict()) for run in STUDY.runs]


def of_samplers(pattern, names):
    """A pattern with the wildcards of CELL, for each of several samplers."""
    return expand(pattern, sampler=names, allow_missing=True)


def samplers_of(wildcards):
    """The samplers that a job runs: its own, or all that train."""
    return [wildcards.sampler] if "sampler" in wildcards.keys() else TRAINED_HERE


def devices_of(sampler, wildcards):
    """Those that a sampler can compute on at a point of the grid."""
    architecture = config["architectures"][wildcards.architecture]
    return METHODS[sampler].devices_for(architecture)


def sources_of(wildcards):
    """Results that a job starts from: of other samplers at the same point of the grid."""
    needed = (
        name
        for sampler in samplers_of(wildcards)
        for name in METHODS[sampler].starts_from
    )
    cells = [
        CELL.format(**dict(wildcards) | {"sampler": name})
        for name in needed
        if name in config["samplers"]
    ]
    return [f"{R}/runs/{cell}.nc" for cell in cells]


def runs_of(wildcards):
    """What tells each run of a job from the others, files left out."""
    runs = []
    for sampler in samplers_of(wildcards):
        cell = CELL.format(**dict(wildcards) | {"sampler": sampler})
        runs.append(
            {
                "cell": cell,
                "sampler": sampler,
                "task": {
                    "module": METHODS[sampler].module,
                    "parameters_class": METHODS[sampler].parameters,
                    "devices": devices_of(sampler, wildcards),
                    "packages": packages_of(sampler),
                    "parameters": config["samplers"][sampler],
                    "seed": job_seed(config["seed"], "run", cell),
                },
            }
        )
    return runs


def gpus(wildcards):
    """Whether a job asks for a GPU; with device: auto it takes one where it finds it."""
    devices = {
        device
        for sampler in samplers_of(wildcards)
        for device in devices_of(sampler, wildcards)
    }
    return int(config["device"] == "cuda" and "cuda" in devices)


def memory_mb(wildcards):
    """What a job may take, MB: its runs follow one another."""
    place = dict(wildcards) | {"n": int(wildcards.n)}
    return max(
        STUDY.memory_mb(Run(**place | {"sampler": sampler}))
        for sampler in samplers_of(wildcards)
    )


def dataset_options(dataset):
    """What of a dataset's entry decides its file; the sizes n do not."""
    later = ("n", "n_validation", "label_noise")
    return {
        key: value
        for key, value in config["datasets"][dataset].items()
        if key not in later
    }


@cache
def code(script, *modules):
    """Digest of a job's script, of what it imports, and of modules it imports by a computed name.

    Snakemake itself looks at the script alone, and at its date only. It asks again for every job.
    """
    return code_digest(SCRIPTS / script, *modules)


@cache
def packages_of(sampler):
    """For each device, the packages that a run of a sampler uses."""
    return {
        device: packages("volumetry.study.job", METHODS[sampler].module, device=device)
        for device in METHODS[sampler].devices
    }
