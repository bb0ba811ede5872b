"""A snapshot as one page, which reloads itself until the study is complete."""

import time

from volumetry.monitor import words
from volumetry.monitor.state import UNREADABLE, Snapshot
from volumetry.report import offline
from volumetry.report.catalogue import CHARTS
from volumetry.report.page import INTERVALS, sections
from volumetry.report.style import style

_CHARTS = {
    "advantage": ["advantage"],
    "test_accuracy": ["test_accuracy_mean"],
    "log_volume": ["log_volume_mean", "log_volume_upper"],
}
"""Charts of the report that mean something before the end, and what they need."""


def render(snapshot: Snapshot, reload: float) -> str:
    """The HTML of the page.

    Args:
        reload: seconds after which a browser shall load it again.

    Returns:
        A page with all data, scripts and styles inside.
    """
    study = snapshot.study
    shown = [
        CHARTS[name]
        for name, needed in _CHARTS.items()
        if study is not None and any(study[each].notnull().any() for each in needed)
    ]
    header, rows = words.table_of_counts(snapshot)
    return offline.render(
        "monitor.html.j2",
        sections(study, shown),
        static=0,  # the page is made again and again
        folder=str(snapshot.folder.absolute()),
        at=time.strftime("%d %b %Y %H:%M:%S %Z", time.localtime(snapshot.time)),
        reload=None if snapshot.complete else max(1, round(reload)),
        fraction=words.fraction_done(snapshot),
        headline=words.headline(snapshot),
        time_left=words.time_left(snapshot),
        header=header,
        counts=rows,
        jobs={
            state: [_row(job) for job in words.among(snapshot, state)]
            for state in ("failed", "running", "stalled")
        },
        bad=[
            {"place": job.place, "kind": job.kind, "said": job.said or job.verdict}
            for job in snapshot.runs
            if job.verdict in ("not converged", UNREADABLE)
        ],
        curves=list(words.curves(snapshot)),
        label=lambda sampler: style(sampler).label,
        intervals=INTERVALS,
    )


def _row(job) -> dict[str, str]:
    """What the tables say of a job that is not done."""
    line, left = job.progress, words.at_most_left(job)
    return {
        "place": job.place,
        "kind": job.kind,
        "stage": words.stage(job),
        "done": f"{line.fraction:.0%}" if line else "",
        "rate": words.rate(job),
        "left": "" if left is None else words.duration(left),
        "notes": words.notes(job),
        "silent": words.duration(job.silent),
        "kept": "" if job.kept is None else words.duration(job.kept),
        "said": job.said,
    }
