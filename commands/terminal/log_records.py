"""The lines of a function's log that have a known form: this host's, and Lambda's own."""

import json
import re
from typing import Any

REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# How lines of this host's (handler/log/lines.py) and Lambda's begin. Those that a bot prints begin
# otherwise: handler/log/output.py sees to that.
_RESERVED = re.compile(
    r'\{"timestamp": "[^"]{0,40}", "level": "[^"]{0,20}", "requestId": "'
    r'|\{"time":"[^"]{0,40}","type":"platform\.'
)
# What the line about an invocation has; a bot's own lines may have some of it.
INVOCATION = {"type", "outcome", "cold_start", "events", "duration_ms"}
FAILED = ("bot_error", "deadline", "runtime_error")
LAMBDAS_OWN = (
    *("START RequestId: ", "END RequestId: ", "REPORT RequestId: "),
    *("INIT_REPORT ", "RESTORE_START ", "RESTORE_REPORT "),
)


def json_object(line: str) -> dict[str, Any]:
    """A line of this host's, or one of Lambda's in its JSON format; empty for any other."""
    if not _RESERVED.match(line):
        return {}
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def request_id(line: str) -> str:
    """Of the request that a line of the log is about; empty for a line without one."""
    record = json_object(line)
    found = record.get("requestId") or _facts(record).get("requestId")
    if line.startswith(LAMBDAS_OWN):
        found = line.partition("RequestId: ")[2][:36]
    return found if isinstance(found, str) and REQUEST_ID.fullmatch(found) else ""


def is_failure(line: str) -> bool:
    """Whether a line of the log is about something that failed: an answer that ended with an error,
    a logged error, a start or an invocation that Lambda ended."""
    record = json_object(line)
    if str(record.get("type", "")).startswith("platform."):
        return str(_facts(record).get("status", "success")) != "success"
    if record.keys() >= INVOCATION:
        return record["outcome"] in FAILED
    if line.startswith(LAMBDAS_OWN):
        return "\tStatus: " in line
    return record.get("level") in ("ERROR", "FATAL", "CRITICAL")


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    facts = record.get("record")
    return facts if isinstance(facts, dict) else {}
