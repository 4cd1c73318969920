"""What keeps an answer alive, and what ends it: pings, a client that goes away, deadlines."""

import asyncio
import contextlib

import fastapi_poe as fp
import pytest
from sse_starlette.sse import EventSourceResponse

from handler.app import lifeline
from handler.app.dispatch import App
from handler.log.record import NAME, Record
from handler.runtime import deadlines
from tests.handler.test_answer import KEY, SCOPE, answer, asking, both, comparable

pytestmark = pytest.mark.anyio


class Context:
    def get_remaining_time_in_millis(self):
        return 900_000


async def test_pings_equal_those_of_make_app(monkeypatch):
    monkeypatch.setattr(lifeline, "PING_SECONDS", 0.4)
    monkeypatch.setattr(EventSourceResponse, "DEFAULT_PING_INTERVAL", 0.4)
    # Each event halfway between two pings, so that a slow machine does not change their order.
    _, ours, theirs = both(1.0, fp.PartialResponse(text="late"), 0.4)
    mine = comparable(await answer(ours))
    assert mine == comparable(await answer(theirs))
    assert [body for body, _ in mine[2]].count(b": ping\r\n\r\n") == 3


@pytest.mark.usefixtures("soon_late")
async def test_nothing_happens_at_the_deadline_of_an_answer_that_has_ended():
    _, ours, _ = both(fp.PartialResponse(text="quick"))
    messages = await answer(ours)
    count = len(messages)
    await asyncio.sleep(0.3)  # and nothing cancels this task
    assert len(messages) == count


async def test_no_ping_follows_the_end(monkeypatch):
    monkeypatch.setattr(lifeline, "PING_SECONDS", 0.02)
    _, ours, _ = both(fp.PartialResponse(text="quick"))
    messages = await answer(ours)
    count = len(messages)
    await asyncio.sleep(0.1)
    assert len(messages) == count


@pytest.mark.parametrize("gone_after", [1, 2, 3])
async def test_a_client_that_goes_away_stops_the_bot_as_in_make_app(gone_after):
    slow = [step for n in range(4) for step in (fp.PartialResponse(text=str(n)), 0.1)]
    bot, ours, theirs = both(*slow)
    mine = await answer(ours, gone_after=gone_after)
    assert bot.cleaned_up == 1
    assert comparable(mine) == comparable(await answer(theirs, gone_after=gone_after))
    assert mine[-1].get("more_body") is not False  # there is nobody to read an end
    assert bot.cleaned_up == 2


async def test_the_task_that_served_a_client_that_went_away_is_not_left_cancelled():
    _, ours, _ = both(fp.PartialResponse(text="a"), 5.0)
    await answer(ours, gone_after=2)
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)


async def test_a_bot_that_swallows_its_cancellation_is_not_asked_for_more():
    class Swallowing(fp.PoeBot):
        async def get_response(self, request):
            for number in range(1000):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.05)
                yield fp.PartialResponse(text=str(number))

    messages = await answer(App([Swallowing(access_key=KEY)]), gone_after=2)
    assert len(messages) <= 4


async def test_another_ones_cancellation_goes_through():
    _, ours, _ = both(fp.PartialResponse(text="a"), 5.0)
    task = asyncio.ensure_future(answer(ours))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_ones_cancellation_goes_through_although_the_client_goes_away_as_well():
    _, ours, _ = both(fp.PartialResponse(text="a"), 5.0)
    gone = asyncio.Event()

    async def send(message):
        pass

    task = asyncio.ensure_future(ours({**SCOPE}, asking(gone), send))
    await asyncio.sleep(0.05)
    gone.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_of_an_answer_runs_on_behind_it(monkeypatch):
    monkeypatch.setattr(lifeline, "PING_SECONDS", 0.01)
    _, ours, _ = both(fp.PartialResponse(text="a"), 0.05, fp.PartialResponse(text="b"))

    async def send(message):
        if message.get("body", b"").startswith(b": ping"):
            await asyncio.Event().wait()  # and never gets it out

    before = asyncio.all_tasks()
    await ours({**SCOPE}, asking(asyncio.Event()), send)
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before


async def test_on_lambda_nothing_waits_for_a_client_to_go_away():
    tasks = []

    class Watching(fp.PoeBot):
        async def get_response(self, request):
            tasks.append(asyncio.all_tasks() - {asyncio.current_task()})
            yield fp.PartialResponse(text="x")

    app = App([Watching(access_key=KEY)])
    before = asyncio.all_tasks()
    await answer(lambda scope, *more: app({**scope, "aws.context": Context()}, *more))
    (others,) = tasks
    assert others <= before


@pytest.mark.usefixtures("soon_late")
async def test_a_ping_that_nobody_takes_holds_up_no_end(monkeypatch):
    monkeypatch.setattr(lifeline, "PING_SECONDS", 0.03)
    _, ours, _ = both(5.0)
    sent = []

    async def send(message):
        if message.get("body", b"").startswith(b": ping"):
            await asyncio.Event().wait()
        sent.append(message)

    async with asyncio.timeout(3):
        await ours({**SCOPE}, asking(asyncio.Event()), send)
    assert b"ran out of time" in sent[-3]["body"]


async def test_poes_limit_ends_an_answer_where_lambdas_deadline_is_later(monkeypatch):
    async def on_lambda(scope, receive, send):
        await ours({**scope, "aws.context": Context()}, receive, send)

    monkeypatch.setattr(deadlines, "POE_LIMIT", 0.05)
    _, ours, _ = both(5.0)
    *_, error, done, end = await answer(on_lambda)
    assert b"ran out of time" in error["body"]
    assert done["body"].startswith(b"event: done")
    assert end["more_body"] is False


class SlowToStop(fp.PoeBot):
    def __init__(self, then):
        super().__init__(access_key=KEY)
        self.then, self.is_stopping = then, False

    async def get_response(self, request):
        yield fp.PartialResponse(text="x")
        try:
            await asyncio.sleep(60)
        finally:
            if self.then != "linger":
                raise {"raise": ValueError, "exit": SystemExit}[self.then]
            self.is_stopping = True
            await asyncio.sleep(0.5)
            self.is_stopping = False


@pytest.fixture
def soon_late(monkeypatch):
    monkeypatch.setattr("handler.app.answer.query_seconds", lambda remaining: 0.1)


@pytest.mark.usefixtures("soon_late")
@pytest.mark.parametrize("then", ["raise", "exit", "linger"])
async def test_a_late_answer_ends_once_with_one_error_and_done_whatever_the_bot_does(then):
    record = Record()
    app = App([SlowToStop(then)])
    messages = await answer(lambda scope, *more: app({**scope, "state": {NAME: record}}, *more))
    text = b"".join(message["body"] for message in messages)
    assert text.count(b"event: error") == text.count(b"event: done") == 1
    assert b"ran out of time" in text
    assert [message["more_body"] for message in messages[1:]].count(False) == 1
    assert (record.tally.late, record.tally.done, record.tally.errors) == (True, True, 1)


@pytest.mark.usefixtures("soon_late")
async def test_a_client_that_goes_away_from_a_late_answer_changes_nothing_about_its_end():
    bot, gone, sent = SlowToStop("linger"), asyncio.Event(), []

    async def send(message):
        sent.append(message.get("body", b""))
        if b"ran out of time" in sent[-1]:
            gone.set()  # while the bot still cleans up

    await App([bot])({**SCOPE}, asking(gone), send)
    assert asyncio.current_task().cancelling() == 0
    assert b"".join(sent).count(b"event: done") == 1


@pytest.mark.usefixtures("soon_late")
async def test_the_end_of_a_late_answer_does_not_wait_for_the_bots_clean_up():
    bot, stopping = SlowToStop("linger"), []

    async def send(message):
        stopping.append(bot.is_stopping)

    await App([bot])({**SCOPE}, asking(asyncio.Event()), send)
    assert stopping == [False, False, True, True, True]  # head, "x", error, done, end


async def test_an_answer_that_is_done_gets_no_error_although_its_bot_raises():
    class Raising(fp.PoeBot):
        async def handle_query(self, request, context):
            yield self.done_event()
            raise ValueError

    _, done, end = await answer(App([Raising(access_key=KEY)]))
    assert done["body"].startswith(b"event: done")
    assert (end["body"], end["more_body"]) == (b"", False)


@pytest.mark.usefixtures("soon_late")
async def test_an_answer_that_is_done_gets_no_error_although_its_bot_goes_on():
    class NotGone(fp.PoeBot):
        async def handle_query(self, request, context):
            yield self.done_event()
            await asyncio.sleep(60)

    _, done, end = await answer(App([NotGone(access_key=KEY)]))
    assert done["body"].startswith(b"event: done")
    assert (end["body"], end["more_body"]) == (b"", False)
