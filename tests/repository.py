"""A copy of the repository to run Snakemake in."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config", "envs", "profiles", "src", "workflow")
# What a study leaves beside its results: times, and what was killed before it was done.
NO_RESULTS = {"logs", "benchmarks", "checkpoints", "seconds.csv", "report.html"}


class Repository:
    """A copy of the repository, with a configuration of its own."""

    def __init__(self, path: Path):
        self.path = path
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
        (self.path / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        command = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml"]
        command += [] if cores is None else ["--cores", str(cores)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.path,
            env=os.environ | {"PYTHONPATH": str(source or self.path / "src")},
            **pipes | options,
        )

    def snakemake(self, config: dict, *arguments: str, **options) -> subprocess.CompletedProcess:
        """Run Snakemake to its end; options as for ``start``."""
        with self.start(config, *arguments, **options) as process:
            output = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, *output)

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
