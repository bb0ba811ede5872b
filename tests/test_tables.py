"""The tables of a study hold every number of its runs and networks, and say what they mean."""

import csv

import numpy as np
import pytest
from made_runs import accuracies, trained

import volumetry
from volumetry.command import main
from volumetry.results.aggregate import aggregate
from volumetry.results.tables import write_tables
from volumetry.runtime import netcdf


@pytest.fixture
def folder(tmp_path):
    """The results of gd with two networks, one of which never fitted, and rewl."""
    files = trained(tmp_path, {10: [([0.4, np.nan], [0.6, np.nan], [0.7, np.nan])]})
    files += accuracies(tmp_path, "rewl", {10: [0.3]}, moves=2**40, log_volume=-9.25)
    results = tmp_path / "results"
    results.mkdir()
    netcdf.write(aggregate(files), results / "study.nc")
    (results / "config.yaml").write_text("seed: 0\n")
    return results


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_run_and_a_row_a_network(folder):
    cost = {"dataset": "digits", "architecture": "simple_cnn", "n": 10, "replicate": 0}
    cost |= {"sampler": "gd", "seconds": 1.5, "max_rss_mb": 300.0}
    study = volumetry.open(folder)
    write_tables(study, [cost], folder)
    gd, rewl = rows_of(folder / "runs.csv")
    assert (gd["sampler"], gd["n_fitted"], gd["seconds"]) == ("gd", "1", "1.5")
    assert (rewl["moves"], rewl["log_volume"], rewl["seconds"]) == (str(2**40), "-9.25", "")
    assert rewl["converged"] == "1" and gd["reference"] == "rewl" and gd["log_volume"] == ""
    first, second = rows_of(folder / "networks.csv")
    assert (first["test_accuracy_final"], second["test_accuracy_final"]) == ("0.6", "")
    assert first["network"] == "0" and first["sampler"] == "gd"


def test_every_column_is_explained(folder):
    write_tables(netcdf.read(folder / "study.nc"), [], folder)
    explained = {(row["file"], row["column"]): row for row in rows_of(folder / "columns.csv")}
    for name in ("runs.csv", "networks.csv"):
        for column in rows_of(folder / name)[0]:
            assert explained[name, column]["meaning"], column
    assert explained["runs.csv", "seconds"]["unit"] == "s"
    assert "nats" in explained["runs.csv", "log_volume"]["meaning"]


def test_commands_export_and_render_what_is_there(folder, capsys, tmp_path):
    assert main(["export", str(folder), "--to", str(tmp_path / "tables")]) == 0
    assert len(rows_of(tmp_path / "tables" / "runs.csv")) == 2
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "report.html")
    assert main(["export", str(tmp_path)]) == 1
    assert "no study.nc there" in capsys.readouterr().err
