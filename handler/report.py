"""The line per invocation, in CloudWatch's embedded metric format.

Source: AWS, "Specification: Embedded metric format". One dimension and six metrics: more would
cost money for each combination.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Report:
    function_name: str
    type: str  # of the Poe request, or "other"
    outcome: Outcome
    cold_start: bool
    duration_ms: float
    events: int
    bytes: int
    metrics: dict[str, float]  # those of UNITS that have a value

    def fields(self, now: float) -> dict[str, Any]:
        """The line's members. `now`: seconds since the epoch."""
        return {
            # CloudWatch takes a directive without a metric for a broken one.
            **({"_aws": self._directive(now)} if self.metrics else {}),
            "FunctionName": self.function_name,
            "type": self.type,
            "outcome": self.outcome,
            "cold_start": self.cold_start,
            "duration_ms": round(self.duration_ms, 1),
            "events": self.events,
            "bytes": self.bytes,
            **self.metrics,
        }

    def _directive(self, now: float) -> dict[str, Any]:
        """Which members of the line are metrics, and of what."""
        return {
            "Timestamp": int(now * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in self.metrics],
                }
            ],
        }


class Refusals:
    """Refused requests, written at most once a minute, so that a flood costs no log lines."""

    INTERVAL = 60  # seconds

    def __init__(self) -> None:
        self._pending = 0
        self._written = float("-inf")  # when a count was last taken

    def count(self) -> None:
        self._pending += 1

    def due(self, now: float) -> bool:
        """Whether a refusal may have a line of its own. `now`: seconds, on the clock of `take`."""
        return now - self._written >= self.INTERVAL

    def take(self, now: float) -> int:
        """How many there were since the last line with any; they are written now."""
        pending, self._pending = self._pending, 0
        if pending:
            self._written = now
        return pending
