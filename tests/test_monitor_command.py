"""The monitor as a command, on studies made by hand and on one that runs."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from monitored import CONFIG, mixed, results
from repository import ROOT, Repository

from volumetry.errors import DataError
from volumetry.monitor import terminal
from volumetry.monitor.__main__ import main
from volumetry.monitor.state import Reader
from volumetry.runtime import netcdf
from volumetry.study.grid import grid


def test_without_a_configuration_one_clear_message(tmp_path, capsys, results):
    assert main([str(tmp_path / "none")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"Error: {tmp_path / 'none' / 'config.yaml'} is not there: a study")
    for text in ("", "]", "a: 1", "datasets: {a: 3}", "\0"):
        (results.folder / "config.yaml").write_text(text)
        with pytest.raises(DataError, match="cannot be read as the configuration"):
            Reader(results.folder).read()


def test_watching_ends_with_the_study(results, tmp_path, capsys, monkeypatch):
    """From before the start to the end, with a page that is written each time."""
    (results.folder / "config.yaml").rename(results.folder / "later")
    page = tmp_path / "page.html"
    steps = []

    def sleep(seconds):
        steps.append(seconds)
        if len(steps) == 1:
            assert not page.exists()
            (results.folder / "later").rename(results.folder / "config.yaml")
        elif len(steps) == 2:
            assert "0 of 12" in page.read_text()
            for run in grid(CONFIG):
                results.finish(run, test_accuracy=0.5)
            for name in ("study.nc", "seconds.csv", "charts/test_accuracy.svg", "report.html"):
                results.touch(name)

    monkeypatch.setattr(time, "sleep", sleep)
    assert main([str(results.folder), "--watch", "7", "--html", str(page)]) == 0
    said = capsys.readouterr().out
    assert steps == [7.0, 7.0] and "Waiting: " in said
    assert f"The study is complete: {results.folder / 'report.html'}" in said
    assert "\x1b" not in said  # not a terminal
    assert "12 of 12" in page.read_text() and 'http-equiv="refresh"' not in page.read_text()
    assert [path.name for path in tmp_path.iterdir()].count("page.html") == 1


def test_an_interrupt_and_an_unwritable_page_are_no_traceback(mixed, capsys, monkeypatch, tmp_path):
    def interrupt(seconds):
        raise KeyboardInterrupt

    (tmp_path / "file").touch()
    monkeypatch.setattr(time, "sleep", interrupt)
    assert main([str(mixed.folder), "--watch", "5"]) == 0
    assert main([str(mixed.folder), "--html", str(tmp_path / "file" / "page.html")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def digests(folder: Path) -> dict[str, tuple]:
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def monitor(*arguments) -> subprocess.CompletedProcess:
    """The command, with what it imported on the last line."""
    script = (
        "import sys; from volumetry.monitor.__main__ import main; status = main(sys.argv[1:]); "
        "print(*sorted({'torch', 'numba', 'altair'} & set(sys.modules))); sys.exit(status)"
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_is_light(mixed, tmp_path):
    """Neither torch nor numba, and charts only for the page; an ASCII terminal will do."""
    before = digests(mixed.folder)
    text, page = monitor(mixed.folder), monitor(mixed.folder, "--html", tmp_path / "page.html")
    assert (text.returncode, text.stdout.splitlines()[-1]) == (0, ""), text.stderr
    assert (page.returncode, page.stdout.splitlines()[-1]) == (0, "altair"), page.stderr
    assert digests(mixed.folder) == before


# ---- a real study --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_study_is_watched_from_start_to_end(tmp_path):
    """Part of the smoke study: counts only ever rise, and nothing of it is touched."""
    config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    config["datasets"]["digits_0v7"]["n"] = [4]
    config["samplers"] = {name: config["samplers"][name] for name in ("gd", "rewl")}
    repository = Repository(tmp_path)
    folder = tmp_path / "results" / "smoke"
    reader, done, states = Reader(folder), [], set()
    # The kernels of the package that is tested are compiled already.
    with repository.start(config, source=ROOT / "src", stderr=subprocess.DEVNULL) as study:
        while study.poll() is None:
            time.sleep(0.5)
            try:
                snapshot = reader.read()
            except DataError as error:
                assert "is not there" in str(error) and not done
                continue
            assert terminal.view(snapshot)
            done.append(sum(job.state == "done" for job in snapshot.runs))
            states |= {job.state for job in snapshot.runs}
    assert study.returncode == 0
    assert done == sorted(done) and len(set(done)) > 1 and len(done) > 5
    assert states == {"waiting", "running", "done"}
    before = digests(tmp_path)
    snapshot = reader.read()
    result = monitor(folder, "--watch", "1")
    assert digests(tmp_path) == before
    assert snapshot.complete and snapshot.left.timed == 2 and not snapshot.left.work
    assert {job.state for job in snapshot.jobs} == {"done"}
    assert result.returncode == 0 and "The study is complete" in result.stdout, result.stderr
    study = netcdf.read(folder / "study.nc")
    for name in ("test_accuracy_mean", "log_volume_mean", "advantage"):
        np.testing.assert_array_equal(snapshot.study[name], study[name])
