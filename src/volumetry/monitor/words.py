"""What a snapshot says in words and numbers; the terminal view and the page share it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from volumetry.monitor.state import STATES, UNREADABLE, Job, Snapshot
from volumetry.results.roles import TRAINED
from volumetry.results.views import cases

_QUANTITIES = {
    "test_accuracy_mean": ("test accuracy", ".3f"),
    "advantage": ("advantage", "+.3f"),
    "log_volume_mean": ("ln V (nats)", ".2f"),
}
"""The partial curves: summaries of the study, with their names and formats."""

_DOUBTFUL = ("not converged", "censored", UNREADABLE)


def duration(seconds: float) -> str:
    """Seconds as a short text, such as "45 s", "12 min", "3.4 h" or "2.1 d"."""
    for unit, size, digits in (("d", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def fraction_done(snapshot: Snapshot) -> float:
    """Of the work that is expected; where some of it is not known, of the runs."""
    done = sum(job.state == "done" for job in snapshot.runs) / max(1, len(snapshot.runs))
    left = snapshot.left
    if done == 1 or left.unknown or not left.spent:
        return done
    return left.spent / (left.spent + left.work)


def headline(snapshot: Snapshot) -> str:
    """How many runs are in which state."""
    states = [job.state for job in snapshot.runs]
    others = [f"{states.count(state):,} {state}" for state in STATES[1:] if state in states]
    of_what = "" if snapshot.left.unknown else " of the work"
    done = f"{states.count('done'):,} of {len(states):,} runs done"
    done += f" ({fraction_done(snapshot):.0%}{of_what})"
    return ", ".join([done, *others])


def time_left(snapshot: Snapshot) -> str:
    """How long it will take, what that rests on, and what it leaves out."""
    if snapshot.complete:
        return f"The study is complete: {snapshot.folder / 'report.html'}"
    left = snapshot.left
    if fraction_done(snapshot) == 1:
        return "Every run is done; the report follows."
    running = sum(job.state == "running" for job in snapshot.runs)
    about = "At least" if left.unknown else "About"
    if not left.work:
        said = "Time left unknown so far."
    elif left.wall is None:
        said = f"{about} {duration(left.work)} of work left, and nothing runs."
    else:
        together = f"with {running} run{'s' * (running != 1)} at a time"
        said = f"{about} {duration(left.wall)} left {together}."
    if left.timed:
        said += f" Judged by {left.timed:,} finished run{'s' * (left.timed != 1)}."
    if left.unknown:
        names = ", ".join(f"{count:,} of {name}" for name, count in left.unknown.items())
        said += f" Not counted, since none of the kind is done: {names}."
    return said


def table_of_counts(snapshot: Snapshot) -> tuple[list[str], list[list[str]]]:
    """Headings, and for each kind of job its name, numbers, and what verdicts are not good."""
    rows = [
        [
            kind,
            *(f"{count[state]:,}" if count[state] else "" for state in STATES),
            f"{sum(count[state] for state in STATES):,}",
            ", ".join(f"{count[v]:,} {v}" for v in _DOUBTFUL if count[v]),
        ]
        for kind, count in snapshot.counts.items()
    ]
    return ["kind", *STATES, "all", "of the done"], rows


def among(snapshot: Snapshot, state: str) -> list[Job]:
    """The jobs in a state."""
    return [job for job in snapshot.jobs if job.state == state]


def stage(job: Job) -> str:
    """What a job is doing, or did last."""
    return job.progress.label if job.progress else "started"


def notes(job: Job) -> list[str]:
    """What else its log says: the note of the progress, and what came after it."""
    return [text for text in (job.progress and job.progress.note, job.said) if text]


def rate(job: Job) -> str:
    """How fast a job is at it."""
    return f"{job.progress.rate:,.3g} {job.progress.unit}/s" if job.progress else ""


def at_most_left(job: Job) -> float | None:
    """Most seconds that a stage under way has left; None if unknown."""
    return job.progress.left if job.progress and job.state == "running" else None


class Curves(NamedTuple):
    """The partial curves of one (dataset, architecture).

    Attributes:
        title: which.
        sizes: the n of the columns.
        rows: quantity, sampler, and the numbers as text.
    """

    title: str
    sizes: list[int]
    rows: list[tuple[str, str, list[str]]]


def curves(snapshot: Snapshot) -> Iterator[Curves]:
    """Means over the finished replicates, and of how many if not of all; an asterisk marks what
    rests on an unconverged run."""
    study = snapshot.study
    if study is None:
        return
    replicates = len({job.run.replicate for job in snapshot.runs})
    for dataset, architecture, part in cases(study):
        present = part["converged"].notnull().any(["replicate", "sampler"])
        part = part.isel(n=present.values).transpose("sampler", "n", ...)
        rows = [
            (
                quantity,
                str(sampler),
                [_number(*each, replicates, form) for each in zip(values, good, entered)],
            )
            for name, (quantity, form) in _QUANTITIES.items()
            for sampler, values, good, entered in zip(
                part["sampler"].values,
                *(part[f"{name}{about}"].values for about in ("", "_converged", "_replicates")),
            )
            if np.isfinite(values).any() and (name != "advantage" or sampler in TRAINED)
        ]
        if rows:
            yield Curves(f"{dataset} · {architecture}", part["n"].values.tolist(), rows)


def _number(value: float, converged: float, entered: float, replicates: int, form: str) -> str:
    if not np.isfinite(value):
        return "–"
    of = "" if entered == replicates else f" ({entered:.0f} of {replicates})"
    return f"{value:{form}}{'' if converged else '*'}{of}"
