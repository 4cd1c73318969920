"""What `make run` shows of a function's log: a line for people from each line for machines."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any


class Lines:
    """Takes every line of the function and of Lambda, and says what a developer wants to know."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._shows_failed_starts = True

    def __call__(self, line: str) -> None:
        text = _of_lambda(line) if line.startswith(_LAMBDAS_OWN) else self._of_function(line)
        if text:
            self._say(text)

    @contextmanager
    def without_failed_starts(self) -> Iterator[None]:
        """For a start whose failure is told in another way."""
        self._shows_failed_starts = False
        try:
            yield
        finally:
            self._shows_failed_starts = True

    def _of_function(self, line: str) -> str:
        record = _json_object(line)
        if "outcome" in record:
            return _invocation(record)
        if "message" not in record:
            return line
        if record.get("level") == "FATAL" and not self._shows_failed_starts:
            return ""
        return _message(record)


_LAMBDAS_OWN = ("START RequestId: ", "END RequestId: ", "REPORT RequestId: ", "INIT_REPORT ")


def _of_lambda(line: str) -> str:
    """Of Lambda's own lines only what the function cannot know: cold starts and violent ends."""
    fields = dict(field.split(": ", 1) for field in line.split("\t") if ": " in field)
    if "Status" in fields and line.startswith("REPORT"):
        return f"{_clock()}  the invocation ended with status {fields['Status']}"
    if "Init Duration" in fields and line.startswith("REPORT"):
        milliseconds = float(fields["Init Duration"].split()[0])
        return f"{_clock()}  cold start in {_milliseconds(milliseconds)}"
    return ""


def _invocation(record: dict[str, Any]) -> str:
    facts = [f"{record['type']}: {record['outcome'].replace('_', ' ')}"]
    if "FirstEventTime" in record:
        facts.append(f"first event after {_milliseconds(record['FirstEventTime'])}")
    if record["events"]:
        facts.append(f"{record['events']} events")
    return f"{_clock()}  {', '.join([*facts, _milliseconds(record['duration_ms'])])}"


def _message(record: dict[str, Any]) -> str:
    text = f"{_clock()}  {record.get('level', '')} {record['message']}"
    places = [place for place in record.get("stackTrace", []) if "/handler/" in place]
    if "errorType" in record:
        text += f" – {record['errorType']}" + (f" at {places[-1]}" if places else "")
    return text


def _json_object(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _clock() -> str:
    return datetime.now().strftime("%H:%M:%S")


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms"
