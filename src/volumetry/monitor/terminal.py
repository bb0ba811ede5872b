"""A snapshot as plain text."""

import sys
import textwrap
import time
from collections.abc import Sequence

from volumetry.monitor import words
from volumetry.monitor.state import Job, Snapshot

_BAR = 40
_MOST_JOBS = 20


def view(snapshot: Snapshot, width: int | None = None) -> str:
    """Counts, time left, jobs under way and partial curves.

    Args:
        width: most characters in a line; None for any number.
    """
    width = width or sys.maxsize
    full = round(_BAR * words.fraction_done(snapshot))
    lines = [
        f"{snapshot.folder}, {time.strftime('%d %b %Y %H:%M:%S', time.localtime(snapshot.time))}",
        f"[{'#' * full}{'-' * (_BAR - full)}]",
        words.headline(snapshot),
        *_wrapped(words.time_left(snapshot), width),
        "",
    ]
    header, rows = words.table_of_counts(snapshot)
    lines += _table([header, *rows], f"<{'>' * (len(header) - 2)}<")
    for state, describe in (("running", _under_way), ("stalled", _under_way), ("failed", _failed)):
        jobs = words.among(snapshot, state)
        lines += ["", state.capitalize()] if jobs else []
        for job in jobs[:_MOST_JOBS]:
            lines += [f"  {job.place} · {job.kind}", *_wrapped(describe(job), width, " " * 6)]
        if len(jobs) > _MOST_JOBS:
            lines.append(f"  and {len(jobs) - _MOST_JOBS:,} more")
    curves = list(words.curves(snapshot))
    for curve in curves:
        title = curve.title
        columns = max(1, (width - 36) // 9)
        for first in range(0, len(curve.sizes), columns):
            part = slice(first, first + columns)
            header = ["  quantity", "sampler", *(f"n = {n}" for n in curve.sizes[part])]
            rows = [[f"  {name}", who, *numbers[part]] for name, who, numbers in curve.rows]
            lines += ["", title, *_table([header, *rows], f"<<{'>' * len(curve.sizes[part])}")]
    if curves:
        lines += [
            "",
            "Means so far, (2 of 3) over so many replicates; * rests on a run not converged.",
        ]
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)


def _under_way(job: Job) -> str:
    said, left = [words.stage(job)], words.at_most_left(job)
    if job.progress:
        said[0] += f": {job.progress.fraction:.0%}"
        said.append(words.rate(job))
    if left is not None:
        said.append(f"at most {words.duration(left)} left")
    said += words.notes(job)
    said.append(f"last word {words.duration(job.silent)} ago")
    if job.kept is not None:
        said.append(f"checkpoint {words.duration(job.kept)} ago")
    return "; ".join(said)


def _failed(job: Job) -> str:
    return f"{job.said} ({words.duration(job.silent)} ago)"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def _table(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Rows as lines, each column to the left (<) or to the right (>)."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(f"{c:{side}{width}}" for c, side, width in zip(row, align, widths)).rstrip()
        for row in rows
    ]
