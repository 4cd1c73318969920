"""The table of times keeps the order that its theory needs, and is what an answer keeps to."""

import asyncio

import fastapi_poe as fp
import pytest

from handler.app.dispatch import App
from handler.runtime import deadlines
from handler.runtime.deadlines import query_seconds, request_seconds
from handler.secret import reader
from tests.handler.test_dispatch import KEY, post, query

LAMBDA_START = 10.0  # seconds, before Lambda begins a start again
LAMBDA_RESTORE = 10.0  # seconds, hooks included, before Lambda gives an environment up
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


def test_a_restore_has_time_for_two_attempts_at_the_secret_and_for_hooks():
    attempts = sum(deadlines.READ_STEP + pause for pause in reader.PAUSES[:2])
    assert attempts < deadlines.RESTORE_READ <= deadlines.RESTORE - 3
    assert deadlines.RESTORE <= LAMBDA_RESTORE - 1, "a failure has to be reported"


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


class Sleepless(asyncio.SelectorEventLoop):
    """Its clock jumps to the next timer instead of waiting for it."""

    def __init__(self):
        super().__init__()
        self._ahead = 0.0
        select = self._selector.select

        def jump(timeout):
            self._ahead += timeout or 0
            return select(0)

        self._selector.select = jump

    def time(self):
        return super().time() + self._ahead


class Thinking(fp.PoeBot):
    """Yields nothing for a day."""

    async def get_response(self, request):
        await asyncio.sleep(86_400)
        yield fp.PartialResponse(text="late")


class Context:
    """Lambda's, with its longest time limit."""

    def get_remaining_time_in_millis(self):
        return 900_000


@pytest.mark.parametrize("more", [{}, {"aws.context": Context()}])
def test_an_answer_ends_588_seconds_after_it_began_if_nothing_ends_it_earlier(more):
    app = App([Thinking(access_key=KEY)])

    async def served(scope, receive, send):
        await app({**scope, **more}, receive, send)

    async def ask():
        began = asyncio.get_running_loop().time()
        response = await post(served, query())
        return response.text, asyncio.get_running_loop().time() - began

    with asyncio.Runner(loop_factory=Sleepless) as runner:
        text, seconds = runner.run(ask())
    assert "ran out of time" in text
    assert text.endswith("event: done\r\ndata: {}\r\n\r\n")
    assert text.count(": ping") == 588 // 15
    assert round(seconds) == 588
