"""Progress of long work, as plain lines in a log: fraction done, rate, time left."""

import re
import sys
import time
from typing import NamedTuple


def say(text: str) -> None:
    """Write a line to the log, with the time in front."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Progress:
    """Prints a line at most every ``interval`` seconds, and says nothing about short work.

    Args:
        label: what is being done.
        unit: what is counted, in the plural.
        interval: seconds between lines.
    """

    def __init__(self, label: str, unit: str, interval: float = 5.0):
        self.label, self.unit, self.interval = label, unit, interval
        self._start = self._last = time.monotonic()

    def update(self, done: float, total: float, note: str = "") -> None:
        """Report that ``done`` of ``total`` is finished; ``note`` is appended as it is."""
        now = time.monotonic()
        if now - self._last < self.interval:
            return
        self._last = now
        rate = done / (now - self._start)
        left = f"{(total - done) / rate:,.0f} s left" if rate > 0 else "time left unknown"
        line = f"{self.label}: {done / total:.0%}, {rate:,.3g} {self.unit}/s, at most {left}"
        say(f"{line}; {note}" if note else line)


class Line(NamedTuple):
    """What a line of ``Progress`` says.

    Attributes:
        label, unit, note: as they were given; ``note`` is empty if there was none.
        fraction: done, 0 to 1, to the nearest hundredth.
        rate: units a second.
        left: most seconds left; None if unknown.
    """

    label: str
    fraction: float
    rate: float
    unit: str
    left: float | None
    note: str


_LINE = re.compile(
    r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )?"
    r"(?P<label>.+?): (?P<percent>-?\d+)%, (?P<rate>[\d.,e+-]+) (?P<unit>.+?)/s, "
    r"at most (?:(?P<left>-?[\d,]+) s left|time left unknown)(?:; (?P<note>.*))?"
)


def parse(text: str) -> Line | None:
    """Read a line of ``Progress`` back; None if it is not one, or not whole."""
    found = _LINE.fullmatch(text)
    if found is None:
        return None
    left = found["left"]
    try:
        return Line(
            label=found["label"],
            fraction=int(found["percent"]) / 100,
            rate=float(found["rate"].replace(",", "")),
            unit=found["unit"],
            left=float(left.replace(",", "")) if left else None,
            note=found["note"] or "",
        )
    except ValueError:
        return None
