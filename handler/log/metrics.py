"""The line per invocation, in CloudWatch's embedded metric format.

Source: AWS, "Specification: Embedded metric format". One dimension and six metrics: more would
cost money for each combination.
"""

import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from handler.log import lines
from handler.log.record import PAGE

NAMESPACE = "PoeBot"
UNITS = {
    "Answers": "Count",
    "FirstEventTime": "Milliseconds",
    "BotErrors": "Count",
    "DeadlineEndings": "Count",
    "Refused": "Count",
    "SecretReadFailures": "Count",
}


class Outcome(StrEnum):
    """How an invocation ended."""

    DONE = "done"
    BOT_ERROR = "bot_error"
    DEADLINE = "deadline"
    REFUSED = "refused"
    RUNTIME_ERROR = "runtime_error"


class Refusals:
    """Refused requests, written at most once a minute, so that a flood costs no log lines. Requests
    for the page that needs no key share that line."""

    INTERVAL = 60  # seconds

    def __init__(self) -> None:
        self._pending = 0
        self._written = float("-inf")  # when a count was last taken

    def count(self) -> None:
        self._pending += 1

    def due(self, now: float) -> bool:
        """Whether a refusal may have a line of its own. `now`: seconds, on the clock of `take`."""
        return now - self._written >= self.INTERVAL

    def hold_back(self, now: float) -> None:
        """Count a line of a stranger's as that of this minute."""
        self._written = now

    def take(self, now: float) -> int:
        """How many there were since the last line with any; they are written now."""
        pending, self._pending = self._pending, 0
        if pending:
            self._written = now
        return pending


class Report(NamedTuple):
    """What one invocation did. Times in ms."""

    outcome: Outcome
    duration: float
    first_event: float | None  # since the invocation's start; None without an event
    bytes: int
    cold_start: bool
    type: str = "other"  # the record's
    events: int = 0
    errors: int = 0
    is_answer: bool = False
    secret_read_failures: int = 0


class Reporter:
    """Writes a line per invocation; refused ones may be written together, by the next line."""

    def __init__(self, function_name: str) -> None:
        self._function_name = function_name
        self._refusals = Refusals()

    def write(self, report: Report) -> None:
        now = time.time()
        if fields := self.fields(report, now):
            lines.write("INFO", fields, now=now)

    def fields(self, report: Report, now: float) -> dict[str, Any] | None:
        """The line's members; None without a line. `now`: seconds since the epoch."""
        if report.outcome is Outcome.REFUSED:
            self._refusals.count()
        if _is_strangers(report):
            if not self._refusals.due(now) and not report.secret_read_failures:
                return None
            self._refusals.hold_back(now)
        metrics = self._metrics(report, now)
        return {
            # CloudWatch takes a directive without a metric for a broken one.
            **({"_aws": _directive(metrics, now)} if metrics else {}),
            "FunctionName": self._function_name,
            "type": report.type,
            "outcome": report.outcome,
            "cold_start": report.cold_start,
            "duration_ms": round(report.duration, 1),
            "events": report.events,
            "bytes": report.bytes,
            **metrics,
        }

    def _metrics(self, report: Report, now: float) -> dict[str, float]:
        """Those of `UNITS` that aren't zero."""
        failed = report.outcome is Outcome.BOT_ERROR
        values = {
            "Answers": int(report.is_answer),
            "FirstEventTime": report.first_event and round(report.first_event, 1),
            "BotErrors": max(report.errors, int(failed)),
            "DeadlineEndings": int(report.outcome is Outcome.DEADLINE),
            "Refused": self._refusals.take(now),
            "SecretReadFailures": report.secret_read_failures,
        }
        return {name: value for name, value in values.items() if value}


def _is_strangers(report: Report) -> bool:
    page = report.type == PAGE and report.outcome is Outcome.DONE
    return page or report.outcome is Outcome.REFUSED


def _directive(metrics: Iterable[str], now: float) -> dict[str, Any]:
    """Which members of the line are metrics, and of what."""
    return {
        "Timestamp": int(now * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in metrics],
            }
        ],
    }
