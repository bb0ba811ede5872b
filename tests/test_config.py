"""Configurations are completed, laid out as a grid, or refused in one clear message."""

import copy
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from volumetry.errors import ConfigError, DataError, NetworkError, VolumetryError
from volumetry.study import config, schema
from volumetry.study.grid import Run, parse
from volumetry.study.registry import METHODS
from volumetry.study.seeds import job_seed

ROOT = Path(__file__).parents[1]
SCHEMA_PATH = ROOT / "workflow" / "schemas" / "config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_PATH.read_text())
README = (ROOT / "config" / "README.md").read_text()
SHIPPED = sorted((ROOT / "config").glob("*.yaml"))

BASE = {
    "datasets": {"digits": {"source": "digits", "n": [20, 10]}},
    "architectures": {"simple_cnn": {}, "mine": {"layers": []}},
    "samplers": {"gd": {}, "rewl": {}},
}

SMALL = {"datasets": {"teacher": {"source": "teacher", "features": 8, "n": [2]}}}
SMALL |= {"architectures": {"perceptron": {}}}

SENSING = {"datasets": {"matrix": {"source": "matrix_sensing", "n": [15]}}}
SENSING |= {"architectures": {"factors": {"layers": ["linear 5"], "weights": "gaussian"}}}


def with_change(path, value):
    """BASE with one value replaced or added."""
    changed = copy.deepcopy(BASE)
    *parents, last = path.split("/")
    target = changed
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value
    return changed


def resolve(settings):
    return config.resolve(settings, SCHEMA_PATH)


def test_defaults_are_filled_in_and_the_input_is_left_alone():
    given = copy.deepcopy(BASE)
    study = resolve(given)
    assert given == BASE
    assert study.config["seed"] == 0 and study.config["results_dir"] == "results"
    assert study.config["datasets"]["digits"] == {
        "source": "digits",
        "n": [10, 20],
        "classes": None,
        "label_noise": 0.0,
        "n_test": None,
        "n_validation": 200,
    }
    assert study.config["architectures"]["simple_cnn"] == {
        "layers": ["conv 6", "pool", "linear 64"]
    }
    assert study.config["samplers"]["gd"] == dataclasses.asdict(METHODS["gd"].load()[0]())


def test_the_grid_has_every_combination_once():
    study = resolve(
        with_change("datasets/other", {"source": "digits", "classes": [0, 7], "n": [4]})
    )
    runs = study.runs
    assert len(runs) == len(set(runs)) == (2 + 1) * 2 * 3 * 2
    assert Run("other", "mine", 4, 2, "rewl") in runs
    assert Run("other", "mine", 10, 2, "rewl") not in runs


def test_a_sampler_may_run_at_some_sizes_alone():
    runs = resolve(with_change("sizes/rewl", [20])).runs
    assert {run.n for run in runs if run.sampler == "rewl"} == {20}
    assert {run.n for run in runs if run.sampler == "gd"} == {10, 20}


@pytest.mark.parametrize(
    "sampler, sizes, said",
    [
        ("rewl", [10, 40], "sizes.rewl = 40: no dataset has this n; use some of 10, 20"),
        ("joint", [10], "sizes.joint: the study has no such sampler; name one of gd, rewl"),
        ("gd", [10], "sizes.gd: samplers that train share a job"),
    ],
)
def test_sizes_of_a_sampler_that_cannot_be_are_refused(sampler, sizes, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        resolve(with_change(f"sizes/{sampler}", sizes))


def test_job_seeds_are_reproducible_and_distinct():
    assert job_seed(0, "run", "digits", 10) == 8978801166714607171
    names = [("a", 1), ("a", 11), ("a1", 1), (1, "a"), ("a", "1"), ()]
    seeds = {job_seed(seed, *name) for seed in range(50) for name in names}
    assert len(seeds) == 50 * len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert sum(seed >= 2**62 for seed in seeds) > 100  # the top bit in use is used


def test_the_path_of_a_file_tells_its_run():
    run = Run("digits", "mine", 10, 2, "rewl")
    assert run.cell == "digits/mine/n10/r2/rewl"
    for path in (f"{run.cell}.nc", f"results/n1/r1/{run.cell}.tsv", Path("/a") / run.cell):
        assert parse(path) == run
    for path in ("mine/n10/r2/rewl.nc", "digits/mine/n1x/r2/rewl.nc", "digits/mine/n1/r2/", "a"):
        assert parse(path) is None


def test_checking_again_changes_nothing():
    study = resolve(BASE)
    assert resolve(study.config) == study
    assert resolve(yaml.safe_load(yaml.safe_dump(study.config))) == study


def test_the_order_in_which_keys_are_written_does_not_matter():
    spec = {"rho": 1, "networks": 2, "learning_rate": 1}
    one, two = (
        resolve(with_change("samplers/sam", settings)).config["samplers"]["sam"]
        for settings in (spec, dict(reversed(spec.items())))
    )
    assert list(one.items()) == list(two.items())
    assert isinstance(one["learning_rate"], float)


def test_networks_are_fitted_to_each_dataset():
    study = resolve(
        with_change("datasets/other", {"source": "digits", "classes": [0, 7], "n": [4]})
    )
    assert study.networks["digits", "simple_cnn"].n_weights == 6 * 9 + 6 * 16 * 64 + 64 * 10
    assert study.networks["other", "mine"].n_weights == 64 * 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 200),
        ({"classes": [0, 7]}, 40),
        ({"classes": [1, 2, 3]}, 60),
        ({"n_validation": 0}, 0),
        ({"n_validation": 500}, 500),
    ],
)
def test_validation_does_not_depend_on_the_sizes(options, expected):
    settings = with_change("samplers/gd", {"selection": "final"})
    for sizes in ([6, 30], [30]):
        settings["datasets"]["digits"] = {"source": "digits", "n": sizes} | options
        if "classes" not in options:
            settings["datasets"]["digits"]["n"] = [10 * n for n in sizes]
        assert resolve(settings).config["datasets"]["digits"]["n_validation"] == expected


# Where, what, and what the message must hold: the key, the rule, the repair.
WRONG = [
    ("sed", 3, ["sed: unknown key", "did you mean seed?", "replicates"]),
    ("seed", "a", ['seed = "a"', "whole number", "default, 0"]),
    ("seed", True, ["seed = true", "whole number"]),
    ("seed", 2**63, ["seed = 9223372036854775808", "within 9223372036854775807"]),
    ("a.b\nc", 1, ['["a.b\\nc"]: unknown key']),
    ("seed", -1, ["seed = -1", "at least 0"]),
    ("replicates", 1.5, ["replicates = 1.5", "whole number"]),
    ("replicates", 0, ["replicates = 0", "at least 1"]),
    ("results_dir", "", ["results_dir", "empty"]),
    ("results_dir", 2024, ["results_dir = 2024", "reads it as int", "quotes"]),
    ("results_dir", "out/{n}", ["results_dir", "braces", "choose a name"]),
    ("data_dir", "a" * 300, ["data_dir", "no such folder"]),
    ("data_dir", "no/such/folder", ["data_dir", "no such folder", "remove the key"]),
    ("device", "gpu", ["device", "auto, cpu, cuda"]),
    ("datasets", {}, ["datasets", "1 or more"]),
    ("datasets", None, ["datasets = null", "a mapping"]),
    ("datasets/digits", {"source": "digits"}, ["datasets.digits.n: missing"]),
    ("datasets/digits/source", "mnits", ["mnits", "did you mean mnist?", "fashion_mnist"]),
    ("datasets/digits/n", [], ["datasets.digits.n", "1 or more"]),
    ("datasets/digits/n", 10, ["datasets.digits.n = 10", "a list"]),
    ("datasets/digits/n", ["ten"], ["datasets.digits.n[0]", "whole number"]),
    ("datasets/digits/n", [10, 10], ["datasets.digits.n", "twice"]),
    ("datasets/digits/n", [10, 25], ["datasets.digits.n = 25", "10 classes", "use 20 or 30"]),
    ("datasets/digits/n", [5], ["datasets.digits.n = 5", "use 10"]),
    ("datasets/digits/n", [10, 810], ["n = 810", "1000", "use n up to 800"]),
    ("datasets/digits/n_validation", 5, ["n_validation = 5", "use 0 or 10"]),
    ("datasets/digits/n_validation", 0, ["samplers.gd.selection", "n_validation = 0", "final"]),
    ("datasets/digits/n_validation", 1000, ["n = 20", "use n up to 0"]),
    ("datasets/digits/label_noise", 1.5, ["label_noise = 1.5", "at most 1"]),
    ("datasets/digits/label_noise", -0.1, ["label_noise = -0.1", "at least 0"]),
    ("datasets/digits/label_noise", float("nan"), ["label_noise = nan", "finite"]),
    ("datasets/digits/classes", [0], ["classes = [0]", "2 or more"]),
    ("datasets/digits/classes", [0, 12], ["datasets.digits", "label 12", "0, 1, 2"]),
    ("datasets/digits/n_test", 10_000, ["datasets.digits", "n_test = 10000", "797"]),
    ("datasets/digits/path", "a.npz", ["datasets.digits.path: unknown key"]),
    ("datasets/digits/label_nose", 0, ["did you mean label_noise?"]),
    ("datasets/a b", {"source": "digits", "n": [10]}, ["datasets", '"a b"', "rename"]),
    ("datasets/a\n", {"source": "digits", "n": [10]}, ["datasets", "rename"]),
    ("datasets/mine", {"source": "npz", "n": [2]}, ["datasets.mine.path: missing"]),
    ("datasets/mod", {"source": "modular_addition", "n": [13], "p": 1}, ["p = 1", "at least 2"]),
    ("architectures/mine", {}, ["architectures.mine", "missing", "simple_cnn"]),
    ("architectures/mine/layers", "simple_cn", ["architectures.mine.layers", "unknown preset"]),
    ("architectures/mine/layers", ["conv6"], ["architectures.mine.layers", "'conv6'", "'conv C'"]),
    ("architectures/mine/layers", [6], ["architectures.mine.layers[0] = 6", "text"]),
    ("architectures/mine/layers", ["pool"] * 4, ["architectures.mine", "layer 4", "remove a pool"]),
    ("architectures/mine/layers", ["linear 4", "conv 2"], ["architectures.mine", "before every"]),
    ("architectures/mine/layers", [f"linear {10**18}"], ["architectures.mine", "64-bit"]),
    ("architectures/mine/layers", [f"linear {10**18}"] * 30, ["sums of 10^543", "64-bit"]),
    ("architectures/mine/layers", ["linear 1" + "0" * 5000], ["at most 19 digits"]),
    ("architectures/mine/layers", ["linear 20000000"], ["1,480,000,000 weights", "narrower"]),
    ("architectures/mine/width", 3, ["architectures.mine.width: unknown key"]),
    ("samplers/enumerate", {}, ["architectures.", "max_weights = 24", "measure with rewl"]),
    ("samplers/gdd", {}, ["samplers.gdd", "did you mean gd?", "guess_and_check"]),
    ("samplers/gd", None, ["samplers.gd = null", "{}"]),
    ("samplers/gd/learning_rate", "1e-3", ["learning_rate", "YAML reads 1e-3 as text", "0.001"]),
    ("samplers/gd/learning_rate", float("inf"), ["samplers.gd.learning_rate", "finite"]),
    ("samplers/gd/selection", "best", ["samplers.gd.selection", "first_fit, final"]),
    ("samplers/gd/rho", 1, ["samplers.gd.rho: unknown key"]),
    ("samplers/rewl/flips", 2, ["samplers.rewl.flips = 2", "must be odd", "default, 3"]),
    (
        "samplers/rewl/flips",
        10**9 + 1,
        ["samplers.rewl.flips = 1000000001: must be odd and below", "its default, 3, adapts"],
    ),
    ("samplers/rewl/max_blocks", 1, ["samplers.rewl.min_blocks", "above max_blocks = 1"]),
    ("samplers/rewl/colour", 1, ["samplers.rewl.colour: unknown key"]),
]


@pytest.mark.parametrize(("path", "value", "parts"), WRONG, ids=lambda part: str(part)[:40])
def test_what_is_wrong_is_named_with_a_repair(path, value, parts):
    with pytest.raises(VolumetryError) as caught:
        resolve(with_change(path, value))
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert len(message.splitlines()) == 1


def test_every_mistake_has_its_line():
    settings = with_change("seed", -1)
    settings["samplers"]["gd"] = {"netwrks": 1, "max_epochs": 0}
    with pytest.raises(ConfigError) as caught:
        resolve(settings)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("settings", [None, [], "text", {1: 2}, {"datasets": {7: {}}}])
def test_what_is_no_configuration_is_refused(settings):
    with pytest.raises(ConfigError):
        resolve(settings)


def test_a_users_file_is_checked_before_any_job(tmp_path):
    path = tmp_path / "mine.npz"
    spec = {"source": "npz", "path": str(path), "n": [2], "n_validation": 0}
    settings = with_change("samplers", {"rewl": {}}) | {"architectures": {"perceptron": {}}}
    settings["datasets"] = {"mine": spec}
    with pytest.raises(DataError, match=r"datasets\.mine: .*does not exist"):
        resolve(settings)
    arrays = {"y_train": np.array([0, 1, 0, 1]), "y_test": np.array([0, 1])}
    for x, error, message in [
        (np.ones((4, 3)), DataError, "x_train holds float64"),
        (np.full((4, 3), 2**61), NetworkError, "64-bit"),
        (np.full((4, 3), np.iinfo(np.int64).min), NetworkError, "64-bit"),
    ]:
        np.savez(path, x_train=x, x_test=x[:2], **arrays)
        with pytest.raises(error, match=message):
            resolve(settings)
    np.savez(path, x_train=np.ones((4, 3), int), x_test=np.ones((2, 3), int), **arrays)
    assert len(resolve(settings).runs) == 3


def test_a_file_that_is_no_yaml_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(path, SCHEMA_PATH)
    path.write_text("a: [1, 2")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(path, SCHEMA_PATH)


# ---- the schema, the code and the documentation stay together -----------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path):
    assert config.load(path, SCHEMA_PATH).runs


def test_the_schema_and_its_tables_are_those_of_the_code():
    """After a change of a declaration: python -m volumetry.study.schema."""
    assert SCHEMA_PATH.read_text() == schema.text()
    documents = [(ROOT / path).read_text() for path in schema.DOCUMENTS]
    assert [schema.refreshed(text) for text in documents] == documents
    marks = re.findall("<!-- table: (.*) -->", "".join(documents))
    assert marks == list(schema.tables())


@pytest.mark.parametrize("sampler", METHODS)
def test_parameters_have_the_type_they_are_declared_with(sampler):
    options = METHODS[sampler].load()[0]
    for declared in dataclasses.fields(options):
        assert type(declared.default) is declared.type, declared.name
    base = SENSING if "sensing" in METHODS[sampler].systems else SMALL
    given = base | {"samplers": {sampler: {}}}
    assert resolve(given).config["samplers"][sampler] == dataclasses.asdict(options())


def test_every_key_stands_in_a_table_with_its_rules():
    table = README.partition("<!-- table: parameters -->")[2]
    for row in (
        "| `flips` | integer from 1 | weights | `3` | Most weights that a move flips; it",
        "| `flatness` | number above 0 below 1 | fraction | `0.8` | Least visits over",
        "| `learning_rate` | number above 0 |  | `0.0001` | Step size of Adam",
        "| `selection` | `first_fit`, `final`, `best_validation` |  | `best_validation` | The",
    ):
        assert f"\n{row}" in table
    for row in (
        "| `data_dir` | text, or null |  | `null` | Folder in",
        "| `n` | list | examples | required | Training-set sizes",
        "| `n_test` | integer from 1, or null | examples | `null` | Test examples",
        "| `layers` | list or text |  | the preset of that name | List of",
        "| `layers` | list or text |  | `[]` | Layers of the teacher",
        "| `rewl` | Replica-exchange Wang-Landau",
    ):
        assert f"\n{row}" in README
    headings = re.findall("^### (.*)$", table, re.MULTILINE)
    assert headings[:3] == ["`gd`, `sgd` and `sam`", "`sgd` and `sam`", "`sam`"]
    annealed = "`population_annealing` and `joint`"
    others = [f"`{name}`" for name in METHODS if name not in headings[0]]
    assert [heading for heading in headings[3:] if heading != annealed] == others
    assert headings.count(annealed) == 1


def test_planning_reads_no_sampler():
    """What every start of the workflow would pay for."""
    script = (
        "import sys\n"
        "from volumetry.study import config\n"
        f"config.load({str(ROOT / 'config/config.yaml')!r}, {str(SCHEMA_PATH)!r})\n"
        "heavy = {'torch', 'numba', 'xarray', 'scipy', 'sklearn', 'triton'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_schema_is_closed():
    def check(schema, path):
        if schema.get("type") == "object":
            free = schema.get("additionalProperties", schema.get("unevaluatedProperties"))
            assert free is False or isinstance(free, dict), path
        for key, part in schema.items():
            if isinstance(part, dict):
                check(part, (*path, key))

    check(SCHEMA, ())
