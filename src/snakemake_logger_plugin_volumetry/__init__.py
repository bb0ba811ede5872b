"""The console of a study: a line as each job starts. Snakemake finds this module by its name.

By itself it writes six lines for each job: the hundred of a small study fill ten screens, and an
error is lost among them. All else, errors above all, stays in its words; so does a dry run.
"""

import re
import sys
import time

from snakemake.logging import ColorizingTextHandler
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

_OF_NO_USE = re.compile(
    r"Select jobs to execute|Using shell|Building DAG|Assuming unrestricted"
    r"|Using workflow specific profile|Conda environments: ignored"
)

_OF_JOBS = (
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.PROGRESS,
    LogEvent.RESOURCES_INFO,
)


class LogHandler(LogHandlerBase):
    """Writes to the standard error what Snakemake logs, jobs in short."""

    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self):
        asked = self.common_settings
        self._as_it_is = ColorizingTextHandler(
            nocolor=asked.nocolor, stream=sys.stdout if asked.stdout else sys.stderr
        )
        self._started = self._total = 0

    def setFormatter(self, fmt):
        """Take Snakemake's own formatter for what is left in its words."""
        super().setFormatter(fmt)
        self._as_it_is.setFormatter(fmt)

    def emit(self, record):
        """Write a record, or what there is to say of it."""
        event = getattr(record, "event", None)
        if self.common_settings.dryrun:
            self._as_it_is.emit(record)
        elif event == LogEvent.JOB_INFO:
            self._started += 1
            self._total = max(self._total, self._started)
            width = len(str(self._total))
            said = record.rule_msg or f"rule {record.rule_name}, job {record.jobid}"
            place = f"{self._started:{width}} of {self._total}"
            self._as_it_is.stream.write(f"{time.strftime('%H:%M:%S')}  {place}  {said}\n")
            self._as_it_is.flush()
        elif event in _OF_JOBS:
            self._total = getattr(record, "total", self._total)
        elif event is not None or not _OF_NO_USE.match(record.getMessage()):
            if event == LogEvent.RUN_INFO:
                self._total = record.stats["total"]
            self._as_it_is.emit(record)
