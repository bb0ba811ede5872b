"""The state of a study, from the files it leaves.

They are only read: nothing is written, locked or kept open, and of checkpoints not even the content
is looked at, so a study does not notice. Files may appear, change and vanish meanwhile.
"""

import math
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
import yaml

from volumetry.errors import DataError
from volumetry.results import seconds
from volumetry.results.aggregate import combine
from volumetry.results.run_files import DIMS, read_run
from volumetry.results.views import status
from volumetry.runtime.progress import Line, parse
from volumetry.study.grid import Run, grid

STATES = ("done", "running", "stalled", "failed", "waiting")
UNREADABLE = "unreadable"
SILENCE = 120.0
"""Seconds without a word after which a job counts as stalled; one of longer steps is given more."""

_STEPS_OF_SILENCE = 3
_TAIL_BYTES = 16384
_STOPPED = "Stopped by SIG"  # what ``checkpoint.watch`` says
_REPORT = {
    "aggregate_runs": "study.nc",
    "collect_seconds": "seconds.csv",
    "draw_charts": "charts/test_accuracy.svg",
    "render_report": "report.html",
}
"""The rules after the runs, and what each makes."""


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        kind: its sampler, or ``datasets``, ``subsets`` or ``report``.
        place: what tells it apart from the others of its kind, in words.
        state: one of ``STATES``.
        run: its cell; None if it is no sampler's.
        said: the verdict of a finished run in full, the error of a failed job, else what its log
            says after the last progress, if anything.
        verdict: of a finished run: converged, not converged, censored, or ``UNREADABLE``.
        progress: the last progress in its log, if any.
        silent: seconds since its log or checkpoint changed; None without a log.
        kept: seconds since its checkpoint changed; None without one.
    """

    kind: str
    place: str
    state: str
    run: Run | None = None
    said: str = ""
    verdict: str = ""
    progress: Line | None = None
    silent: float | None = None
    kept: float | None = None


class TimeLeft(NamedTuple):
    """What unfinished runs are expected to take; failed ones are left out.

    Attributes:
        work: seconds of all of them one after the other.
        wall: seconds if as many run at a time as now; None if none runs.
        timed: finished runs that this is judged by.
        unknown: for each sampler, its runs that could not be judged.
        spent: seconds of finished runs, and of what is done of others, one after the other.
    """

    work: float
    wall: float | None
    timed: int
    unknown: Counter
    spent: float


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    Attributes:
        folder: its results.
        time: seconds since the epoch.
        before, runs, after: the jobs that prepare data, those of the samplers, those of the report.
        study: what ``aggregate`` makes of the finished runs; None if there is none.
        left: the time left.
    """

    folder: Path
    time: float
    before: list[Job]
    runs: list[Job]
    after: list[Job]
    study: xr.Dataset | None
    left: TimeLeft

    @property
    def jobs(self) -> list[Job]:
        """All jobs."""
        return self.before + self.runs + self.after

    @property
    def complete(self) -> bool:
        """Whether every run and the report are done."""
        return all(job.state == "done" for job in self.runs + self.after)

    @property
    def counts(self) -> dict[str, Counter]:
        """For each kind of job, how many are in each state, and how many have each verdict."""
        counts: dict[str, Counter] = defaultdict(Counter)
        for job in self.jobs:
            counts[job.kind].update([job.state, job.verdict])
        return counts


class Reader:
    """Reads a study again and again, but each file only when it has changed."""

    def __init__(self, folder: str | os.PathLike):
        """Look at nothing yet.

        Args:
            folder: the ``results_dir`` of the study.
        """
        self.folder = Path(folder)
        self._known: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._combined: tuple[dict, xr.Dataset | None] = {}, None
        self._now = 0.0

    def read(self) -> Snapshot:
        """The study as it is now.

        Raises:
            DataError: its saved configuration is not there or cannot be read.
        """
        config, cells = self._configuration()
        self._now = time.time()
        runs = [self._run_job(cell) for cell in cells]
        done = [job.run for job in runs if job.state == "done"]
        results = {run: result for run in done if (result := self._result(run))}
        study = self._combine(results, config)
        runs = _judge(runs, study)
        times = {run: row["seconds"] for run in done if (row := self._benchmark(run))}
        return Snapshot(
            self.folder,
            self._now,
            self._preparations(config),
            runs,
            self._report(runs),
            study,
            time_left(runs, times),
        )

    # ---- jobs ----------------------------------------------------------------------------------

    def _run_job(self, run: Run) -> Job:
        place = f"{run.dataset} · {run.architecture} · n = {run.n} · replicate {run.replicate}"
        return self._job(
            Job(run.sampler, place, "waiting", run),
            self._path("runs", run, "nc"),
            self._path("logs/runs", run, "log"),
            self._path("checkpoints", run, "state"),
        )

    def _preparations(self, config: dict) -> list[Job]:
        """The jobs before the runs."""
        names = [("datasets", name, name) for name in config["datasets"]]
        names += [
            ("subsets", f"{name}/r{replicate}", f"{name} · replicate {replicate}")
            for name in config["datasets"]
            for replicate in range(config["replicates"])
        ]
        return [
            self._job(
                Job(kind, place, "waiting"),
                self.folder / kind / f"{name}.nc",
                self.folder / "logs" / kind / f"{name}.log",
            )
            for kind, name, place in names
        ]

    def _report(self, runs: list[Job]) -> list[Job]:
        """The jobs after the runs. What is older than a run is of an earlier study."""
        since = math.inf
        if all(job.state == "done" for job in runs):
            newest = max(_changed(self._path("runs", job.run, "nc")) for job in runs)
            # Later on it is not: a run made again with the same bytes changes no report.
            since = newest if self._now - newest < SILENCE else 0.0
        return [
            self._job(
                Job("report", made, "waiting"),
                self.folder / made,
                self.folder / "logs" / f"{rule}.log",
                since=since,
            )
            for rule, made in _REPORT.items()
        ]

    def _job(
        self, job: Job, output: Path, log: Path, checkpoint: Path | None = None, since: float = 0.0
    ) -> Job:
        """``job`` with its state, by its files; those older than ``since`` do not count."""
        if _changed(output) >= since:
            return replace(job, state="done")
        heard = _changed(log)
        words = self._cached(log, _read_log) if heard >= since else None
        if words is None:
            return job
        kept = _changed(checkpoint) if checkpoint else -math.inf
        silent = max(0.0, self._now - max(heard, kept))
        rate = words.progress.rate if words.progress else 0.0
        patience = max(SILENCE, _STEPS_OF_SILENCE / rate if rate > 0 else 0.0)
        stalled = silent > patience or words.last.startswith(_STOPPED)
        return replace(
            job,
            state="failed" if words.failure else "stalled" if stalled else "running",
            said=words.failure or words.last,
            progress=words.progress,
            silent=silent,
            kept=None if kept == -math.inf else max(0.0, self._now - kept),
        )

    # ---- files ---------------------------------------------------------------------------------

    def _path(self, folder: str, run: Run, suffix: str) -> Path:
        return self.folder / folder / f"{run.cell}.{suffix}"

    def _configuration(self) -> tuple[dict, list[Run]]:
        path = self.folder / "config.yaml"
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            return config, grid(config)
        except FileNotFoundError:
            raise DataError(
                f"{path} is not there: a study writes it when it starts; start it, or name the "
                "results_dir of one that was started"
            ) from None
        # Not a study's, or one that is just being written.
        except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
            raise DataError(
                f"{path} cannot be read as the configuration of a study ({error}): try again, or "
                "name the results_dir of a study"
            ) from None

    def _result(self, run: Run) -> dict | None:
        """What a finished run says; None if it cannot be read, or is the file of another cell."""
        result = self._cached(self._path("runs", run, "nc"), read_run)
        return result if result and run == tuple(result[dim] for dim in DIMS) else None

    def _combine(self, results: dict[Run, dict], config: dict) -> xr.Dataset | None:
        """The study made of the results; made anew only if one of them has changed."""
        before, study = self._combined
        same = before.keys() == results.keys() and all(before[k] is results[k] for k in results)
        if not same:
            names = {key: list(config[key]) for key in ("datasets", "architectures")}
            study = combine(results, **names) if results else None
            self._combined = results, study
        return study

    def _benchmark(self, run: Run) -> dict | None:
        path = self._path("benchmarks/runs", run, "tsv")
        rows = self._cached(path, lambda path: list(seconds.collect([path])))
        return rows[0] if rows else None

    def _cached(self, path: Path, read: Callable[[Path], Any]) -> Any:
        """``read(path)``, called only if the file changed; None if it is not there or damaged."""
        try:
            found = path.stat()
            stamp = found.st_mtime_ns, found.st_size
            if path not in self._known or self._known[path][0] != stamp:
                self._known[path] = stamp, read(path)
        except (OSError, ValueError, DataError):
            self._known.pop(path, None)
            return None
        return self._known[path][1]


def _changed(path: Path) -> float:
    """When a file last changed, in seconds since the epoch; -inf if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return -math.inf


def _judge(runs: list[Job], study: xr.Dataset | None) -> list[Job]:
    """The jobs with the verdicts of those that are done."""
    if study is None:
        verdicts, said = {}, {}
    else:
        verdicts, said = (
            values.transpose(*DIMS).to_series().to_dict()
            for values in (status(study), study["verdict"])
        )
    return [
        replace(job, verdict=verdicts.get(job.run) or UNREADABLE, said=said.get(job.run, ""))
        if job.state == "done"
        else job
        for job in runs
    ]


class _Words(NamedTuple):
    """What a log says last: progress, and since then an error and any other line."""

    progress: Line | None
    failure: str
    last: str


def _read_log(path: Path) -> _Words:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        text = file.read(_TAIL_BYTES).decode("utf-8", errors="replace")
    line, failure, last, tracing = None, "", "", False
    for words in text.splitlines():
        if found := parse(words):
            line, failure, last = found, "", ""
        elif words.startswith("Error: "):
            failure = words.removeprefix("Error: ")
        elif words.startswith("Traceback (most recent call last):"):
            failure, tracing = "a traceback, see its log", True
        elif tracing and words and not words[0].isspace():
            failure, tracing = words, False
        elif words.strip():
            last = words.strip()
    return _Words(line, failure, last)


def time_left(jobs: Iterable[Job], measured: Mapping[Run, float]) -> TimeLeft:
    """What the unfinished runs will take.

    Each is expected to take what finished runs of its sampler took (the median) at the nearest n,
    on the same dataset and architecture if there are such runs. A run that is under way has spent
    part of it; one that takes longer than expected is given what its progress says at most.

    Args:
        measured: seconds of finished runs.
    """
    known: dict[str, dict[tuple, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run, value in measured.items():
        known[run.sampler][run.dataset, run.architecture, run.n].append(value)

    @cache
    def expected(dataset: str, architecture: str, n: int, sampler: str) -> float | None:
        def distance(place: tuple) -> tuple:
            others = (place[0] != dataset) + (place[1] != architecture)
            return others, abs(math.log(place[2] / n))

        alike = known.get(sampler)
        return statistics.median(alike[min(alike, key=distance)]) if alike else None

    left, running, unknown, whole = [], 0, Counter(), 0.0
    for job in jobs:
        if job.state in ("done", "failed"):
            continue
        run = job.run
        value = expected(run.dataset, run.architecture, run.n, run.sampler)
        whole += value or 0.0
        if job.state == "running":
            running += 1
            value = _rest(value, job.progress)
        if value is None:
            unknown[run.sampler] += 1
        else:
            left.append(value)
    work = sum(left)
    wall = max(work / running, max(left, default=0.0)) if running else None
    spent = sum(measured.values()) + max(0.0, whole - work)
    return TimeLeft(work, wall, len(measured), unknown, spent)


def _rest(expected: float | None, line: Line | None) -> float | None:
    """What is left of a run, given what the whole of it should take and where its stage is."""
    if line is None or line.left is None:
        return expected
    spent = line.left * line.fraction / (1 - line.fraction) if line.fraction < 1 else 0.0
    return expected - spent if expected is not None and expected > spent else line.left
