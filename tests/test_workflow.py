"""The workflow in a copy of the repository: what it runs, what it runs again, how it fails."""

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
import yaml
from repository import ROOT, Repository, digests

CONFIG = {
    "replicates": 1,
    "datasets": {
        "small": {
            "source": "digits",
            "classes": [0, 7],
            "n": [4],
            "n_test": 40,
            "n_validation": 4,
        }
    },
    "architectures": {"perceptron": {}},
    "samplers": {
        "gd": {"networks": 2},
        "guess_and_check": {"hits": 10, "max_guesses": 10_000},
        "rewl": {},
    },
}
SAMPLERS = {"train_networks": 1, "guess_networks": 1, "sample_interpolators": 1}
RESULTS = dict.fromkeys(
    ("aggregate_runs", "collect_seconds", "draw_charts", "export_tables", "render_report"), 1
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A repository in which the study is complete."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    # On the original package, whose kernels are compiled already; that the copy says the same is
    # part of what the tests show.
    result = repository.snakemake(CONFIG, source=ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr
    repository.said = result
    return repository


@pytest.fixture
def edit(finished):
    """Changes a file of the repository for the time of a test."""
    saved = {}

    def change(name: str, function: Callable[[str], str]) -> None:
        path = finished.path / name
        saved.setdefault(path, path.read_text())
        path.write_text(function(path.read_text()))
        assert path.read_text() != saved[path]

    yield change
    for path, text in saved.items():
        path.write_text(text)


def changed(**entries):
    """CONFIG with keys replaced; a path is written with double underscores."""
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    for path, value in entries.items():
        *parents, last = path.split("__")
        target = config
        for parent in parents:
            target = target[parent]
        target[last] = value
    return config


def test_a_run_makes_everything_it_promises(finished):
    results = finished.path / "results"
    for name in (
        "report.html",
        "study.nc",
        "seconds.csv",
        "config.yaml",
        "charts/advantage.svg",
        "answer.txt",
        "runs.csv",
        "networks.csv",
        "columns.csv",
    ):
        assert (results / name).stat().st_size > 100, name
    study = xr.load_dataset(results / "study.nc")
    assert dict.fromkeys(("dataset", "architecture", "n", "replicate"), 1).items() <= (
        dict(study.sizes).items()
    )
    assert study["sampler"].values.tolist() == ["gd", "guess_and_check", "rewl"]
    run = xr.load_dataset(results / "runs/small/perceptron/n4/r0/rewl.nc")
    expected = {"dataset": "small", "n": 4, "replicate": 0, "sampler": "rewl", "n_weights": 128}
    assert {name: run.attrs[name] for name in expected} == expected
    assert len((results / "seconds.csv").read_text().splitlines()) == 1 + 3
    for kind in ("logs", "benchmarks"):
        suffix = {"logs": "log", "benchmarks": "tsv"}[kind]
        files = {path.stem for path in (results / kind).rglob(f"*.{suffix}")}
        assert {"gd", "guess_and_check", "rewl", "small", "r0", *RESULTS, "save_config"} == files


def test_the_console_has_a_line_for_each_job_and_fits_a_screen(finished):
    said = finished.said
    started = re.findall(r"^\d\d:\d\d:\d\d +(\d+) of (\d+)  \S", said.stderr, re.M)
    jobs = 4 + len(SAMPLERS) + len(RESULTS)  # dataset, subset, configuration, all
    assert started == [(str(number), str(jobs)) for number in range(1, jobs + 1)]
    assert "Study results: 3 runs" in said.stdout and "Report: results/report.html" in said.stdout
    assert len((said.stderr + said.stdout).splitlines()) < 50


@pytest.mark.slow
def test_results_do_not_depend_on_cores(finished, tmp_path):
    """They were made on two."""
    alone = Repository(tmp_path)
    result = alone.snakemake(CONFIG, source=ROOT / "src", cores=1)
    assert result.returncode == 0, result.stdout + result.stderr
    assert digests(alone.path / "results") == digests(finished.path / "results")


def test_a_second_run_does_nothing(finished):
    assert finished.planned(CONFIG) == {}


def test_the_saved_configuration_is_complete_and_the_same_study(finished):
    saved = yaml.safe_load((finished.path / "results/config.yaml").read_text())
    assert saved["seed"] == 0 and "max_epochs" in saved["samplers"]["gd"]
    assert finished.planned(saved) == {}


def test_another_size_runs_that_size_and_what_follows(finished):
    new = changed(datasets__small__n=[4, 8])
    assert finished.planned(new) == SAMPLERS | RESULTS | {"save_config": 1}


def test_another_replicate_runs_that_replicate_and_what_follows(finished):
    runs = {**SAMPLERS, "draw_subset": 1}
    assert finished.planned(changed(replicates=2)) == runs | RESULTS | {"save_config": 1}


def test_another_sampler_and_dataset_leave_the_others_alone(finished):
    new = changed(samplers__sgd={"networks": 1}, datasets__other={"source": "teacher", "n": [2]})
    # On the old dataset sgd, in one job with gd; on the new one all.
    runs = {"train_networks": 1 + 1, "guess_networks": 1, "sample_interpolators": 1}
    made = {"prepare_dataset": 1, "draw_subset": 1, "save_config": 1}
    assert finished.planned(new) == runs | made | RESULTS


def test_a_parameter_of_one_sampler_reruns_that_sampler_alone(finished):
    new = changed(samplers__rewl={"walkers": 3})
    assert finished.planned(new) == {"sample_interpolators": 1, **RESULTS, "save_config": 1}


def test_label_noise_reruns_from_the_subsets_on(finished):
    runs = {**SAMPLERS, "draw_subset": 1}
    new = changed(datasets__small__label_noise=0.5)
    assert finished.planned(new) == runs | RESULTS | {"save_config": 1}


@pytest.mark.parametrize("target", ["benchmark", "benchmark_quick"])
def test_the_benchmark_is_a_target_of_its_own(finished, target):
    result = finished.snakemake(CONFIG, "--dry-run", target)
    table = result.stdout.partition("Job stats:")[2].partition("total")[0]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", table, re.M))
    assert jobs == {target: "1", "measure_speed": "1", "render_benchmark": "1"}, result.stderr
    assert not any("benchmark" in rule or "speed" in rule for rule in finished.planned(CONFIG))


def test_a_change_of_one_sampler_does_not_train_the_others_of_its_job_again(finished, tmp_path):
    repository = Repository(tmp_path / "copy", finished)
    runs, logs = (repository.path / "results" / name for name in ("runs", "logs/runs"))
    place = Path("small/perceptron/n4/r0")
    brief = {"networks": 1, "extra_epochs": 5}  # since it is to write after every epoch
    config = changed(samplers={name: dict(brief) for name in ("gd", "sgd")})
    made = []
    for batch_size in (3, 2):
        config["samplers"]["sgd"]["batch_size"] = batch_size
        wanted = ("--", f"results/runs/{place}/sgd.nc")
        result = repository.snakemake(config | {"checkpoint_seconds": 0}, *wanted)
        assert result.returncode == 0, result.stderr
        made.append([(runs / place / f"{name}.nc").read_bytes() for name in ("gd", "sgd")])
    assert made[0][0] == made[1][0] and made[0][1] != made[1][1]
    assert "Going on from the checkpoint" in (logs / place / "gd.log").read_text()
    assert "belongs to other inputs, parameters" in (logs / place / "sgd.log").read_text()


# ---- edits of the code --------------------------------------------------------------------------


def statement(text: str) -> str:
    return text + "\n\n_EDITED = True\n"


EDITS = {
    "report/page.py": {"render_report": 1},
    "methods/training.py": {"train_networks": 1, **RESULTS},
    "engines/evaluator.py": {"sample_interpolators": 1, **RESULTS},
    "engines/layout.py": {"guess_networks": 1, "sample_interpolators": 1, **RESULTS},
    "datasets/digits.py": {"prepare_dataset": 1, "draw_subset": 1, **SAMPLERS, **RESULTS},
}


@pytest.mark.parametrize(("module", "expected"), EDITS.items(), ids=list(EDITS))
def test_an_edit_reruns_what_used_the_module(finished, edit, module, expected):
    edit(f"src/volumetry/{module}", statement)
    assert finished.planned(CONFIG) == expected


def test_an_edit_of_the_page_template_reruns_the_report_and_no_sampler(finished, edit):
    edit("src/volumetry/report/page.html.j2", lambda text: text + "<!-- edited -->\n")
    jobs = finished.planned(CONFIG)
    assert set(jobs) <= {"render_report", "draw_charts"} and jobs["render_report"] == 1


def test_what_no_result_depends_on_reruns_nothing(finished, edit):
    for module in ("engines/evaluator.py", "methods/training.py", "datasets/digits.py"):
        edit(f"src/volumetry/{module}", lambda text: text + "\n# a comment\n")
    for module in (
        "datasets/npz.py",
        "study/config.py",
        "runtime/joblog.py",
        "runtime/progress.py",
    ):
        edit(f"src/volumetry/{module}", statement)
    for folder in ("src", "workflow", "config"):
        for path in (finished.path / folder).rglob("*.*"):
            os.utime(path)
    assert finished.planned(CONFIG) == {}


# ---- failures -----------------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path):
    return Repository(tmp_path)


def test_a_wrong_configuration_stops_before_anything_is_written(fresh):
    result = fresh.snakemake(changed(datasets__small__n=[4, 5]))
    assert result.returncode == 1
    assert "datasets.small.n = 5: must be a multiple of the 2 classes" in result.stderr
    assert "Traceback" not in result.stderr and 'File "' not in result.stderr
    assert not (fresh.path / "results").exists()


def test_missing_and_damaged_data_end_in_one_message(fresh, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # no network
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(fresh.path / "cache"))
    config = changed(datasets={"mnist": {"source": "mnist", "n": [10]}})
    log = fresh.path / "results/logs/datasets/mnist.log"

    result = fresh.snakemake(config)
    assert result.returncode == 1
    assert log.read_text().startswith("Error: train-images-idx3-ubyte.gz of mnist is not in")
    assert "set data_dir" in log.read_text() and log.read_text() in result.stderr

    folder = fresh.path / "data" / "mnist"
    folder.mkdir(parents=True)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"damaged")
    result = fresh.snakemake(config | {"data_dir": "data"})
    assert result.returncode == 1
    assert f"datasets.mnist: data/mnist/{path.name} is damaged: it holds 7 bytes" in result.stderr

    # A file of the right length is told by its checksum, in the job that reads it.
    path.write_bytes(gzip.compress(bytes(16 + 60_000 * 28 * 28), 1))
    result = fresh.snakemake(config | {"data_dir": "data"})
    assert result.returncode == 1
    assert log.read_text().startswith("Error: data/mnist/train-images-idx3-ubyte.gz is damaged")
    for text in (log.read_text(), result.stdout, result.stderr):
        assert "Traceback" not in text
    assert len(log.read_text().splitlines()) == 1
    assert not list((fresh.path / "results").rglob("*.nc"))


@pytest.mark.parametrize(
    "name",
    # Those that the documentation names are planned with it, too.
    [
        pytest.param(path.stem, marks=[pytest.mark.slow] * (path.stem != "config"))
        for path in sorted((ROOT / "config").glob("*.yaml"))
    ],
)
def test_shipped_configurations_can_be_planned(fresh, name):
    """And one named on the command line takes the place of the default, it is not merged."""
    result = fresh.snakemake({}, "--dry-run", "--configfile", f"config/{name}.yaml")
    assert result.returncode == 0, result.stderr
    datasets = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())["datasets"]
    read = re.findall(r"Reading dataset (\w+)", result.stdout)
    assert sorted(set(read)) == sorted(datasets)
