"""Faults, provoked for real: each ends in a clear message, and the next run completes."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from repository import ROOT, Repository, digests

pytestmark = pytest.mark.slow

CONFIG = {
    "replicates": 1,
    "datasets": {
        "small": {"source": "digits", "classes": [0, 7], "n": [4], "n_test": 40, "n_validation": 4}
    },
    "architectures": {"perceptron": {}},
    "samplers": {"guess_and_check": {"hits": 10, "max_guesses": 1000}},
}


class Study(Repository):
    """A small study, run on the package whose kernels are compiled."""

    def run(self, *arguments, config=CONFIG, **options):
        return self.snakemake(config, *arguments, source=ROOT / "src", **options)

    def completes(self, *arguments, **options):
        result = self.run(*arguments, **options)
        assert result.returncode == 0, result.stdout + result.stderr
        assert (self.path / "results" / "report.html").stat().st_size > 1000

    def fails(self, *wanted, config=CONFIG, **options):
        """It ends with status 1, and says all that is wanted, once, without a traceback."""
        result = self.run(config=config, **options)
        said = result.stdout + result.stderr
        assert result.returncode == 1, said
        assert "Traceback" not in said
        for text in wanted:
            assert re.search(text, said), f"{text!r} is not in:\n{said}"

    @property
    def files(self):
        """Every result with its digest; without times."""
        return digests(self.path / "results")


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "study")


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("complete") / "study")
    study.completes()
    return study


@pytest.fixture
def finished(complete, tmp_path):
    """A study of its own that is complete already."""
    return Study(tmp_path / "study", like=complete)


@pytest.fixture
def small_disk(study):
    """A file system of its own under results; call with mount options to mount it again."""
    results = study.path / "results"
    results.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", results]
        return subprocess.run(command, capture_output=True, check=False)

    if os.geteuid() or mount("size=300k").returncode:
        pytest.skip("mounting a file system takes root")
    yield lambda *options: mount("remount", *options)
    subprocess.run(["umount", "--lazy", results], check=True)


def test_a_full_disk(study, small_disk):
    study.fails(r"No space left on device|cannot be written")
    assert not list((study.path / "results").rglob(".*.nc"))
    small_disk("size=100m")
    study.completes()


def test_a_read_only_folder(study, small_disk):
    small_disk("size=100m")
    small_disk("ro")
    study.fails(r"results_dir = results: results is no folder that can be written to; make it one")
    small_disk("rw")
    study.completes()


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_a_killed_snakemake(study):
    process = study.start(CONFIG, source=ROOT / "src", start_new_session=True)
    wait_for(study.path / "results" / "datasets" / "small.nc", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = study.run()
    if again.returncode:  # killed while it held the lock
        assert "Directory cannot be locked" in again.stdout + again.stderr
        assert study.run("--unlock").returncode == 0
    study.completes()


def test_a_second_snakemake_is_refused_and_harms_nothing(study):
    first = study.start(CONFIG, source=ROOT / "src")
    wait_for(study.path / "results" / "datasets" / "small.nc", first)
    study.fails("Directory cannot be locked")
    output = first.communicate()
    assert first.returncode == 0, output


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("datasets/small.nc", lambda content: content[: len(content) // 2]),
        ("subsets/small/r0.nc", lambda content: b""),
        ("runs/small/perceptron/n4/r0/guess_and_check.nc", lambda content: b"x" * len(content)),
        ("study.nc", lambda content: content[:-100]),
    ],
)
def test_a_damaged_result(finished, name, harm):
    study, expected = finished, finished.files
    path = study.path / "results" / name
    path.write_bytes(harm(path.read_bytes()))
    study.fails(rf"Error: .*{re.escape(name)}:? cannot be read as .* delete it and run again")
    path.unlink()
    study.completes()
    # What nothing needs any more is not made anew.
    assert study.files.items() <= expected.items()
    assert {Path(name).parts[0] for name in study.files} >= {"study.nc", "charts"}


def test_clocks_that_jump(finished):
    """Dates of files from any time only decide what runs again, not what comes of it."""
    study, expected = finished, finished.files
    chance = random.Random(4)
    for path in sorted((study.path / "results").rglob("*")):
        when = time.time() + chance.uniform(-3e7, 3e7)
        os.utime(path, (when, when))
    study.completes()
    assert study.files == expected


def test_a_job_that_would_not_fit_into_memory_is_refused(study):
    large = {
        "datasets": {"small": {"source": "digits", "n": [900], "n_validation": 10}},
        "architectures": {"large": {"layers": ["conv 64", "pool", "linear 512"]}},
        "samplers": {"rewl": {"walkers": 100_000}},
    }
    study.fails(
        r"rewl: .* walkers.* would take [\d.]+ GB of memory, and [\d.]+ GB are free: lower",
        config=CONFIG | large,
    )
    study.completes()
