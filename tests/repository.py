"""A copy of the repository to run Snakemake in."""

import hashlib
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config", "docs", "envs", "profiles", "src", "workflow")
# What a study leaves beside its results: times, and what was killed before it was done.
NO_RESULTS = {"logs", "benchmarks", "checkpoints", "seconds.csv", "runs.csv", "report.html"}


# Importing Snakemake takes half the time of a dry run; this process does it once, and forks.
ready = multiprocessing.get_context("forkserver")
ready.set_forkserver_preload(
    ["snakemake.cli", "snakemake.report.html_reporter", "jsonschema", "numpy"]
)


def be_snakemake(arguments: list[str], folder: Path, source: Path, variables: dict, output: Path):
    """Run Snakemake in this process, as ``python -m snakemake`` would in a new one."""
    os.chdir(folder)
    os.environ.clear()
    os.environ |= variables | {"PYTHONPATH": str(source)}
    sys.path.insert(0, str(source))
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT), descriptor)
    from snakemake.cli import main

    main(arguments)


class Repository:
    """A copy of the repository, with a configuration of its own.

    Args:
        path: the folder to make.
        like: a repository to copy with its results, instead of the original.
    """

    def __init__(self, path: Path, like: "Repository | None" = None):
        self.path = path
        if like is not None:
            shutil.copytree(like.path, path, symlinks=True)
            return
        path.mkdir(exist_ok=True)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
            copy(ROOT / part, path / part)

    def start(
        self,
        config: dict,
        *arguments: str,
        source: Path | None = None,
        cores: int | None = 2,
        **options,
    ) -> subprocess.Popen:
        """Start Snakemake on the package in ``source``, by default the copy's own."""
        self.configure(config)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *self.options(cores), *arguments],
            cwd=self.path,
            env=os.environ | {"PYTHONPATH": str(source or self.path / "src")},
            **pipes | options,
        )

    def configure(self, config: dict | str) -> None:
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        (self.path / "study.yaml").write_text(text)

    def options(self, cores: int | None) -> list[str]:
        return ["--configfile", "study.yaml"] + ([] if cores is None else ["--cores", str(cores)])

    def snakemake(
        self,
        config: dict | str,
        *arguments: str,
        source: Path | None = None,
        cores: int = 2,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess:
        """Run Snakemake to its end; ``config`` may be the text of the file, ``timeout`` seconds."""
        self.configure(config)
        command = [*self.options(cores), *arguments]
        source = source or self.path / "src"
        with tempfile.TemporaryDirectory() as folder:
            given = command, self.path, source, dict(os.environ), Path(folder)
            process = ready.Process(target=be_snakemake, args=given)
            process.start()
            process.join(timeout)
            if process.is_alive():
                process.kill()
                raise subprocess.TimeoutExpired(command, timeout)
            said = [(Path(folder) / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(command, process.exitcode, *said)

    def planned(self, config: dict) -> dict[str, int]:
        """What a run would do now: jobs of each rule, the target rule left out."""
        result = self.snakemake(config, "--dry-run")
        assert result.returncode == 0, result.stdout + result.stderr
        table = result.stdout.partition("Job stats:")[2].partition("total")[0]
        jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
        jobs.pop("all", None)
        assert bool(jobs) != ("Nothing to be done" in result.stdout + result.stderr)
        return jobs


def digests(results: Path) -> dict[str, str]:
    """SHA-256 of every result file; the report tells times and is left out."""
    return {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.relative_to(results).parts[0] not in NO_RESULTS
    }
