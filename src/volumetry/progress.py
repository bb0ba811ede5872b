"""Progress of long work, as plain lines in a log: fraction done, rate, time left."""

import sys
import time


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
        print(f"{line}; {note}" if note else line, file=sys.stderr, flush=True)
