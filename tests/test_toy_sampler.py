"""A sampler is one module and one record: everything else finds it there."""

import os
import subprocess
import sys
from collections import Counter

import pytest
import xarray as xr
from repository import Repository

MODULE = '''
"""The typical network, whether it fits or not."""

from dataclasses import dataclass

import numpy as np

from volumetry.methods.result import common_result
from volumetry.networks.forward import count_correct
from volumetry.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    draws: int = parameter(
        50, minimum=2, unit="draws", stops=True, about="Networks looked at."
    )


def run(problem, parameters, seed, *, threads=1, checkpoint=None, sources=()):
    rng = np.random.default_rng(seed)
    weights = [problem.space.draw(rng) for _ in range(parameters.draws)]
    correct = [count_correct(problem.network, w, problem.x_test, problem.y_test) for w in weights]
    return common_result(
        test_accuracy=np.mean(correct) / len(problem.y_test),
        test_accuracy_stderr=0.01,
        converged=True,
        verdict=f"a toy after {sorted(sources)}",
        guesses=parameters.draws,
    )
'''

RECORD = """\
        Method(
            name="{name}",
            module="volumetry.methods.{name}",
            about="Networks at random.",
            kind={kind},
            label="Any network ({name})",
            colour=GREY,
            shape="circle",
            memory=costs.kernel_bytes,
            starts_from={starts_from},
        ),
"""

CONFIG = {
    "replicates": 2,
    "datasets": {"small": {"source": "teacher", "features": 16, "n": [4], "test_size": 40}},
    "architectures": {"perceptron": {}},
}

TOYS = {
    "toy_guess": ("GUESSED", (), "guess_networks"),
    "toy_exact": ("EXACT", (), "guess_networks"),
    "toy_trained": ("TRAINED", (), "train_networks"),
    "toy_chain": ("SAMPLED", (), "sample_interpolators"),
    "toy_second_chain": ("SAMPLED", ("toy_chain", "gd"), "sample_jointly"),
}
"""One of each kind, what it starts from, and the rule that runs it."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with the toys, each a module and a record, and nothing else edited by hand."""
    made = Repository(tmp_path_factory.mktemp("repository"))
    package = made.path / "src" / "volumetry"
    records = ""
    for name, (kind, starts_from, _) in TOYS.items():
        (package / "methods" / f"{name}.py").write_text(MODULE)
        records += RECORD.format(name=name, kind=kind, starts_from=starts_from)
    registry = package / "study" / "registry.py"
    before, end, after = registry.read_text().partition('    )\n}\n"""By name')
    registry.write_text(before + records + end + after)
    subprocess.run(
        [sys.executable, "-m", "volumetry.study.schema"],
        cwd=made.path,
        env=os.environ | {"PYTHONPATH": str(package.parent)},
        check=True,
    )
    return made


def test_a_sampler_of_any_kind_is_a_module_and_a_record(repository):
    toys = {name: {"draws": 20} for name in TOYS}
    config = CONFIG | {"samplers": {"gd": {"networks": 1, "learning_rate": 0.01}} | toys}
    # Two points of the grid.
    rules = Counter(2 * [rule for _, _, rule in TOYS.values()])
    assert rules.items() <= repository.planned(config).items()
    result = repository.snakemake(config)
    assert result.returncode == 0, result.stdout + result.stderr
    results = repository.path / "results"

    study = xr.load_dataset(results / "study.nc")
    assert study["sampler"].values.tolist() == ["gd", *TOYS]
    part = study.sel(sampler=list(TOYS))
    assert (part["guesses"] == 20).all() and (part["converged"] == 1).all()
    assert ((part["test_accuracy"] > 0) & (part["test_accuracy"] < 1)).all()
    assert part["test_accuracy_mean"].notnull().all()
    after = study["verdict"].sel(sampler="toy_second_chain").values.ravel()
    assert set(after) == {"a toy after ['gd', 'toy_chain']"}

    chart = (results / "charts" / "test_accuracy.svg").read_text()
    report = (results / "report.html").read_text()
    readme = (repository.path / "config" / "README.md").read_text()
    for name in TOYS:
        assert f"Any network ({name})" in chart and f"Any network ({name})" in report
        assert f"### `{name}`" in readme


def test_its_parameters_are_checked(repository):
    result = repository.snakemake(CONFIG | {"samplers": {"toy_guess": {"draws": 1}}}, "--dry-run")
    assert result.returncode == 1
    assert "samplers.toy_guess.draws = 1: must be at least 2. Networks looked at." in result.stderr
