"""What `make run` and `make logs` show of a function's log: a line for people from each line for
machines.

    12:34:56  query: done, 3 events, 1,234 ms     this host's or Lambda's
    12:34:56  FAILED query: bot error, 1 event    an answer that ended with the bot's `error` event
    12:34:56  WARN the first line of a message    logged, by level
              │ its second line
    12:34:56  ERROR the bot failed – KeyError at bot.py:7 in get_response
              │ its traceback, with BOT_DEBUG=1
    12:34:56  │ a line that was printed

`dated`, for a log of many days and conversations:

    2026-11-26 12:34:56  3f2a1c9b  query: done, 3 events, 1,234 ms

Nothing that is printed or logged can pass for another line: all of it comes after a time, a mark
or a level, and what a terminal would obey is written out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from commands.terminal.ends import Ends
from commands.terminal.log_records import FAILED, INVOCATION, LAMBDAS_OWN, json_object, request_id
from commands.terminal.text import continued


@dataclass(frozen=True)
class StartedBot:
    """A bot that a start has: its path, and the member of the secret that is its access key."""

    path: str = "/"
    key_name: str | None = "POE_ACCESS_KEY"


class LogPrinter:
    """Takes every line of a function's log, Lambda's own too, and passes on what a developer wants
    to know, as text for people.

    say     prints a line, or several in one string
    rename  gives a text in which the bot's files have the names that its author knows
    dated   begins lines with their date, too, and with the first characters of their request's id
    """

    def __init__(
        self,
        say: Callable[[str], object],
        rename: Callable[[str], str] = lambda text: text,
        *,
        dated: bool = False,
    ) -> None:
        self._say = say
        self.rename = rename
        self._dated = dated
        self.count = 0
        """How many lines there were to show."""
        self._shows_failed_starts = True
        self._ends = Ends()
        self.bots = [StartedBot()]
        """Those of the last start; a start that has only this one doesn't show it."""

    def __call__(self, line: str, at: datetime | None = None) -> None:
        """`at`: when the line was written, in local time; now, if it comes at once."""
        try:
            text = self._text(line)
        except _OF_ANOTHER_FORM:
            text = None
        if text is None:
            text = f"{_MARK}{line}"
        if text:
            self.count += 1
            heading = self._heading(at or datetime.now(), line)
            self._say(heading + continued(text, " " * len(heading) + _MARK))

    def _heading(self, at: datetime, line: str) -> str:
        if self._dated:
            return f"{at:%Y-%m-%d %H:%M:%S}  {request_id(line)[:_SHORT]:<{_SHORT}}  "
        return f"{at:%H:%M:%S}  "

    @contextmanager
    def without_failed_starts(self) -> Iterator[None]:
        """For a start whose failure is reported in another way."""
        self._shows_failed_starts = False
        try:
            yield
        finally:
            self._shows_failed_starts = True

    def _text(self, line: str) -> str | None:
        """What to show of a line that has a known form, which may be nothing; None for others.

        Raises various errors for a line that only begins like one."""
        record = json_object(line)
        if self._ends.has_said(line):
            return ""
        if line.startswith(LAMBDAS_OWN):
            return _of_lambda(line)
        if str(record.get("type", "")).startswith("platform."):
            return _of_platform(record)
        if record.keys() >= INVOCATION:
            return _invocation(record)
        if record.get("logger") == _START and "bots" in record:
            self.bots = [StartedBot(bot["path"], bot["key_name"]) for bot in record["bots"]]
            return ""
        return self._message(record) if "message" in record else None

    def _message(self, record: dict[str, Any]) -> str:
        if record.get("level") == "FATAL" and not self._shows_failed_starts:
            return ""
        text = f"{record.get('level', '')} {record['message']}"
        stack = record.get("stackTrace", [])
        places = [place.removeprefix(_BOT) for place in stack if place.startswith(_BOT)]
        if "errorType" in record:
            text += f" – {record['errorType']}" + (f" at {places[-1]}" if places else "")
        if "traceback" in record:
            text += f"\n{record['traceback']}"
        return self.rename(text)


_MARK = "│ "
_SHORT = 8  # characters of a request's id: enough to tell a log's requests apart

# What a line of the bot's own raises that is nearly in a form that is known.
_OF_ANOTHER_FORM = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_START = "handler.app.load"  # the logger of the line with the bots
_BOT = "bot/"  # where the bot's own files lie in the package


def _of_lambda(line: str) -> str:
    """Of Lambda's own lines only what the function cannot know: cold starts and violent ends."""
    fields = dict(field.split(": ", 1) for field in line.split("\t") if ": " in field)
    if not line.startswith("REPORT"):
        return ""
    if "Status" in fields:
        return f"the invocation ended with status {fields['Status']}"
    if "Init Duration" in fields:
        return f"cold start in {_milliseconds(float(fields['Init Duration'].split()[0]))}"
    if "Restore Duration" in fields:
        duration = float(fields["Restore Duration"].split()[0])
        return f"restored from the snapshot in {_milliseconds(duration)}"
    return ""


def _of_platform(record: dict[str, Any]) -> str:
    """The same of Lambda's own lines as JSON (AWS, "Lambda Telemetry API Event schema
    reference")."""
    kind, facts = record["type"].removeprefix("platform."), record.get("record", {})
    status = facts.get("status", "success")
    if kind == "report" and status != "success":
        return f"the invocation ended with status {status}"
    if kind == "initReport" and status != "success":
        return f"the start ended with status {status}"
    if kind == "restoreReport" and status != "success":
        return f"the restore from the snapshot ended with status {status}"
    if kind == "report" and "initDurationMs" in facts.get("metrics", {}):
        return f"cold start in {_milliseconds(facts['metrics']['initDurationMs'])}"
    if kind == "report" and "restoreDurationMs" in facts.get("metrics", {}):
        duration = facts["metrics"]["restoreDurationMs"]
        return f"restored from the snapshot in {_milliseconds(duration)}"
    return ""


def _invocation(record: dict[str, Any]) -> str:
    failed = "FAILED " if record["outcome"] in FAILED else ""
    facts = [f"{failed}{record['type']}: {record['outcome'].replace('_', ' ')}"]
    if record["cold_start"]:
        facts.append("cold start")
    if "FirstEventTime" in record:
        facts.append(f"first event after {_milliseconds(record['FirstEventTime'])}")
    if record["events"]:
        facts.append("1 event" if record["events"] == 1 else f"{record['events']} events")
    return ", ".join([*facts, _milliseconds(record["duration_ms"])])


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms"
