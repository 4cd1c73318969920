"""A request's record: who makes it, and how an invocation's outcome is read from it."""

from types import SimpleNamespace

import pytest

from handler.log.metrics import Outcome
from handler.log.record import NAME, Record, Tally, record_of
from handler.runtime.cycle import DEADLINE
from handler.runtime.report import outcome_of, report_of
from handler.runtime.wire import Failure

FAILURE = Failure("ValueError", "the bot failed")


def test_the_loops_record_is_the_one_that_the_app_fills():
    record = Record(cold_start=True)
    assert record_of({"state": {NAME: record}}) is record


@pytest.mark.parametrize("scope", [{}, {"state": {}}, {"state": {"the user's": "own"}}])
def test_under_another_server_a_request_has_one_record_all_the_same(scope):
    record = record_of(scope)
    assert (record.type, record.tally, record.refused) == ("other", None, False)
    assert record_of(scope) is record


def test_two_requests_never_share_a_record():
    assert record_of({"state": {}}) is not record_of({"state": {}})


def record(*, refused=False, **tally):
    """A record of an answer with `tally`, or of a request without an answer."""
    made = Record()
    made.refused = refused
    if tally:
        made.tally = Tally()
        for name, value in tally.items():
            setattr(made.tally, name, value)
    return made


@pytest.mark.parametrize(
    ("record", "failure", "outcome"),
    [
        (record(), None, Outcome.DONE),
        (record(events=3), None, Outcome.DONE),
        (record(refused=True), None, Outcome.REFUSED),
        (record(errors=1), None, Outcome.BOT_ERROR),
        (record(), FAILURE, Outcome.BOT_ERROR),
        (record(refused=True), FAILURE, Outcome.BOT_ERROR),
        (record(errors=1, late=True), None, Outcome.DEADLINE),
        (record(), DEADLINE, Outcome.DEADLINE),
    ],
)
def test_an_outcome_follows_from_record_and_failure(record, failure, outcome):
    assert outcome_of(record, failure, delivered=True) is outcome
    assert outcome_of(record, failure, delivered=False) is Outcome.RUNTIME_ERROR


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DONE),
        (304, Outcome.DONE),
        (400, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (405, Outcome.REFUSED),
        (499, Outcome.REFUSED),
        (500, Outcome.DONE),
        (501, Outcome.DONE),
    ],
)
def test_a_route_of_the_bots_own_refuses_by_its_status(status, outcome):
    assert outcome_of(record(), None, True, status) is outcome
    assert outcome_of(record(errors=1), None, True, status) is Outcome.BOT_ERROR


def test_a_report_has_what_record_and_response_say():
    answered = record(events=4, errors=1, first_event=100.25)
    answered.started, answered.type, answered.cold_start = 100.0, "query", True
    report = report_of(answered, SimpleNamespace(stream=SimpleNamespace(size=77)), Outcome.DONE)
    assert (report.first_event, report.events, report.errors) == (250.0, 4, 1)
    assert (report.type, report.bytes, report.cold_start) == ("query", 77, True)
    assert report.is_answer


@pytest.mark.parametrize(("found", "is_answer"), [(record(), False), (record(events=0), True)])
def test_without_an_event_a_report_has_no_time_of_the_first(found, is_answer):
    report = report_of(found, SimpleNamespace(stream=None), Outcome.RUNTIME_ERROR)
    assert report.first_event is None
    assert (report.events, report.bytes, report.is_answer) == (0, 0, is_answer)
