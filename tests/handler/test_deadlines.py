"""The table of times keeps the order that its theory needs."""

import pytest

from handler.runtime import deadlines
from handler.runtime.deadlines import query_seconds, request_seconds
from handler.secret import reader

LAMBDA_START = 10.0  # seconds, before Lambda begins a start again
POE_FIRST_BYTE = 5.0  # seconds, before Poe gives an answer up
POE_ANSWER = 600.0  # seconds, for all of an answer


def test_each_way_to_end_has_time_before_the_next_one_is_tried():
    ended_without_the_bot = deadlines.QUERY_MARGIN - deadlines.CLEAN_UP
    assert ended_without_the_bot - deadlines.REQUEST_MARGIN > 0.15
    assert deadlines.REQUEST_MARGIN - deadlines.WATCHDOG_MARGIN > 0.25
    assert deadlines.WATCHDOG_MARGIN >= 0.12 + deadlines.LAST_WRITE


def test_every_attempt_at_the_secret_fits_into_a_start():
    attempts = sum(deadlines.READ_STEP + pause for pause in reader.PAUSES)
    assert attempts < deadlines.START_READ < LAMBDA_START - 1


def test_a_user_who_waits_for_a_fresh_secret_still_gets_a_first_byte():
    assert deadlines.READ_STEP < deadlines.FRESH_READ <= POE_FIRST_BYTE - 2


def test_poes_limit_leaves_room_for_a_cold_start():
    assert deadlines.POE_LIMIT < POE_ANSWER - LAMBDA_START


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [(None, 588), (900, 588), (589, 588), (588, 587), (3, 2), (1, 0), (0.4, 0), (0, 0)],
)
def test_a_query_ends_before_lambdas_deadline_and_poes_limit(remaining, seconds):
    assert query_seconds(remaining) == seconds


@pytest.mark.parametrize(("remaining", "seconds"), [(900, 899.3), (0.7, 0), (0, 0)])
def test_any_request_ends_before_lambdas_deadline(remaining, seconds):
    assert request_seconds(remaining) == pytest.approx(seconds)
