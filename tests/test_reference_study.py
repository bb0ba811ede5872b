"""The reference study that is kept: whole, small, as its document says, and the same again."""

import csv
import re

import numpy as np
import pytest
import xarray as xr
import yaml
from repository import ROOT, Repository
from scipy import stats

from volumetry.report.study_tables import TABLES, refresh

KEPT = ROOT / "results" / "reference"
DOCUMENT = ROOT / "docs" / "reference.md"
CELL = "digits", "simple_cnn", 10, 0


@pytest.fixture(scope="module")
def study():
    with xr.open_dataset(KEPT / "study.nc") as kept:
        return kept.load()


def test_kept_files_are_small():
    sizes = [path.stat().st_size for path in KEPT.rglob("*") if path.is_file()]
    tracked = ("study.nc", "report.html", "runs.csv", "networks.csv", "columns.csv", "config.yaml")
    assert all((KEPT / name).is_file() for name in tracked)
    assert (KEPT / "charts" / "advantage.svg").is_file()
    assert sum(sizes) < 8e6 or (KEPT / "runs").exists()  # where the study was run, there is more


def test_every_run_of_the_configuration_is_there(study):
    """None was left out, and each says whether it converged."""
    config = yaml.safe_load((KEPT / "config.yaml").read_text())
    runs = study["converged"].notnull()
    for name, spec in config["datasets"].items():
        for sampler in config["samplers"]:
            sizes = [n for n in spec["n"] if n in config["sizes"].get(sampler, spec["n"])]
            found = runs.sel(dataset=name, sampler=sampler).any("architecture")
            assert found.sel(n=sizes).all(), (name, sampler)
            assert int(found.sum()) == len(sizes) * config["replicates"]
    shipped = yaml.safe_load((ROOT / "config" / "reference.yaml").read_text())
    assert set(shipped["datasets"]) == set(config["datasets"])


def volume_z(study):
    """ln V of rewl less that of population_annealing, in errors, where both converged."""
    one, other = (study.sel(sampler=s) for s in ("rewl", "population_annealing"))
    z = (one.log_volume - other.log_volume) / np.hypot(
        one.log_volume_stderr, other.log_volume_stderr
    )
    z = z.where((one.converged == 1) & (other.converged == 1)).values
    return z[np.isfinite(z)]


def test_two_volume_samplers_agree(study):
    """Their differences are as large as their errors say: chi-squared, between its 0.1 % tails."""
    z = volume_z(study)
    assert len(z) > 20
    low, high = stats.chi2(len(z)).ppf([0.001, 0.999])
    assert low < (z**2).sum() < high
    assert np.abs(z).max() < 4.5


def test_the_document_has_the_numbers_of_the_study():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) == set(TABLES)
    assert refresh(text, KEPT) == text


@pytest.mark.slow
def test_a_cell_comes_out_the_same_again(tmp_path, study):
    """One of digits, by both volume samplers: to the last digits that are kept."""
    config = yaml.safe_load((ROOT / "config" / "reference.yaml").read_text())
    repository, dataset, architecture, n, replicate = Repository(tmp_path / "copy"), *CELL
    folder = f"runs/{dataset}/{architecture}/n{n}/r{replicate}"
    samplers = "rewl", "population_annealing"
    wanted = [f"results/again/{folder}/{sampler}.nc" for sampler in samplers]
    done = repository.snakemake(config | {"results_dir": "results/again"}, "--", *wanted)
    assert done.returncode == 0, done.stderr
    with (KEPT / "runs.csv").open(newline="") as file:
        kept = {
            row["sampler"]: row
            for row in csv.DictReader(file)
            if [row[k] for k in ("dataset", "architecture", "n", "replicate")]
            == list(map(str, CELL))
        }
    for sampler, path in zip(samplers, wanted):
        with xr.open_dataset(repository.path / path) as again:
            for name in ("log_volume", "log_volume_stderr", "test_accuracy", "moves"):
                assert float(again[name]) == pytest.approx(float(kept[sampler][name]), rel=1e-8)
