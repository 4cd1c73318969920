"""How an invocation ended, and what its line contains."""

import time

from handler.log.metrics import Outcome, Report
from handler.log.record import Record
from handler.runtime.cycle import DEADLINE, Cycle
from handler.runtime.wire import Failure


def outcome_of(
    record: Record, failure: Failure | None, delivered: bool, status: int = 0
) -> Outcome:
    """`delivered`: whether the Runtime API took the whole response, or the failure. `status`: the
    response's, which may be of the bot's own routes or of a library."""
    tally = record.tally
    if not delivered:
        return Outcome.RUNTIME_ERROR
    if failure is DEADLINE or (tally and tally.late):
        return Outcome.DEADLINE
    if failure or (tally and tally.errors):
        return Outcome.BOT_ERROR
    return Outcome.REFUSED if record.refused or 400 <= status < 500 else Outcome.DONE


def report_of(record: Record, cycle: Cycle, outcome: Outcome) -> Report:
    """What is written of an invocation that was served until now."""
    tally, stream = record.tally, cycle.stream
    answered = tally is not None and tally.events > 0
    return Report(
        outcome,
        duration=(time.perf_counter() - record.started) * 1000,
        first_event=(tally.first_event - record.started) * 1000 if tally and answered else None,
        bytes=stream.size if stream else 0,
        cold_start=record.cold_start,
        type=record.type,
        events=tally.events if tally else 0,
        errors=tally.errors if tally else 0,
        is_answer=tally is not None,
        secret_read_failures=record.secret_read_failures,
    )


def report_of_refused_event(cold_start: bool) -> Report:
    """What is written of an event that is not a request."""
    return Report(Outcome.REFUSED, duration=0, first_event=None, bytes=0, cold_start=cold_start)
