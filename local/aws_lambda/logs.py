"""Lambda's own log lines, text format: START, END, REPORT and the rest."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from local.aws_lambda.config import FunctionConfig, python_version
from local.aws_lambda.invocation import InvocationRecord, Outcome

LineSink = Callable[[str], None]
Phase = Literal["init", "restore"]

_STATUS = {
    Outcome.TIMEOUT: "timeout",
    Outcome.EXIT: "error",
    Outcome.OUT_OF_MEMORY: "error",
}


def start_line(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}"


def end_line(request_id: str) -> str:
    return f"END RequestId: {request_id}"


def report_line(record: InvocationRecord, memory_mb: int) -> str:
    """The init counts towards the billed duration, as for every runtime since August 2025."""
    billed_ms = math.ceil(record.duration_ms + (record.init_ms or 0) + (record.restore_ms or 0))
    fields = [
        f"REPORT RequestId: {record.id}",
        f"Duration: {record.duration_ms:.2f} ms",
        f"Billed Duration: {billed_ms} ms",
        f"Memory Size: {memory_mb} MB",
        f"Max Memory Used: {record.max_memory_mb} MB",
    ]
    if record.init_ms is not None:
        fields.append(f"Init Duration: {record.init_ms:.2f} ms")
    if record.restore_ms is not None:
        fields.append(f"Restore Duration: {record.restore_ms:.2f} ms")
        fields.append(f"Billed Restore Duration: {math.ceil(record.restore_ms)} ms")
    if record.outcome in _STATUS:
        fields.append(f"Status: {_STATUS[record.outcome]}")
        if record.error is not None and record.outcome is not Outcome.TIMEOUT:
            fields.append(f"Error Type: {record.error.type}")
    return "\t".join(fields)


def restore_start_line(config: FunctionConfig) -> str:
    major, minor = python_version(config.python)
    return f"RESTORE_START Runtime Version: python:{major}.{minor}"


def start_report_line(phase: Phase, ms: float, error_type: str | None) -> str:
    """For an init or a restore that failed; None stands for the time limit."""
    status = "timeout" if error_type is None else f"error\tError Type: {error_type}"
    name = phase.capitalize()
    return f"{phase.upper()}_REPORT {name} Duration: {ms:.2f} ms\tPhase: {phase}\tStatus: {status}"


def timeout_message(request_id: str, timeout_s: float) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return f"{now}Z {request_id} Task timed out after {timeout_s:.2f} seconds"


def exit_message(returncode: int) -> str:
    """In the words of the platform; a negative code is the signal that ended the process."""
    if returncode == -9:
        return "Runtime exited with error: signal: killed"
    if returncode < 0:
        return f"Runtime exited with error: signal: {-returncode}"
    if returncode == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: exit status {returncode}"
