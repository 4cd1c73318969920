"""Every way in which a bot can end, or not end: what Poe sees, what is in the log, and that the
next request is served. The real package in a local Lambda, its time limit 3 s."""

import json

import httpx
import pytest

from local.aws_lambda.service import FunctionConfig, LocalLambda, Outcome
from tests.support.package import KEY

pytestmark = pytest.mark.anyio

TIMEOUT_S = 3

BOT = """
import asyncio, sys, threading, time
import fastapi_poe as fp

SECRET_TEXT = "the text of an exception"

class Bot(fp.PoeBot):
    async def get_response(self, request):
        word = request.query[-1].content
        if word == "raise-first":
            raise ValueError(SECRET_TEXT)
        if word == "nothing":
            return
        if word == "exit-first":
            sys.exit(1)
        if word == "block-first":
            time.sleep(60)
        yield fp.PartialResponse(text="begun")
        if word == "raise":
            raise ValueError(SECRET_TEXT)
        elif word == "exit":
            sys.exit(1)
        elif word == "panic":  # as Rust's reaches Python
            raise type("PanicException", (BaseException,), {})(SECRET_TEXT)
        elif word == "interrupted":
            raise KeyboardInterrupt
        elif word == "cancelled":
            task = asyncio.create_task(asyncio.sleep(60))
            task.cancel()
            await task
        elif word == "never":
            await asyncio.sleep(60)
        elif word == "swallow":
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        elif word == "swallow-once":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
            yield fp.PartialResponse(text="not wanted any more")
            await asyncio.sleep(60)
        elif word == "block":
            time.sleep(60)
        elif word == "busy":
            while True:
                pass
        elif word == "huge":
            for _ in range(3):
                yield fp.PartialResponse(text="x" * 1_000_000)
        elif word == "print":
            print("printed by the bot")
        elif word.startswith("unfinished"):
            stream = sys.stderr if "stderr" in word else sys.stdout
            print("half a line", end="\\r" if "progress" in word else "", file=stream, flush=True)
        elif word == "background":
            async def fail():
                await asyncio.sleep(0.01)
                raise ValueError(SECRET_TEXT)
            self.tasks = [asyncio.create_task(asyncio.sleep(60)), asyncio.create_task(fail())]
            threading.Thread(target=lambda: 1 / 0).start()
            await asyncio.sleep(0.05)
            del self.tasks
        elif word == "bad-event":
            yield fp.PoeBot.text_event("x").__class__(data="x", retry="not a number")
        elif word == "not-an-event":
            yield 7

    async def get_settings(self, setting):
        raise ValueError(SECRET_TEXT)

    async def on_feedback(self, feedback_request):
        await asyncio.sleep(60)

    async def on_error(self, error_request):
        time.sleep(60)

bot = Bot()
"""

BEGUN = 'event: text\r\ndata: {"text": "begun"}\r\n\r\n'
DONE = "event: done\r\ndata: {}\r\n\r\n"


class Function:
    """A function, what it wrote, and one client of it."""

    def __init__(self, function, lines, http):
        self._function, self._lines, self._http = function, lines, http

    async def post(self, document):
        headers = {"Authorization": f"Bearer {KEY}"}
        body = b""
        async with self._http.stream(
            "POST", self._function.url, json=document, headers=headers
        ) as response:
            try:
                async for piece in response.aiter_raw():
                    body += piece
                whole = True
            except httpx.RemoteProtocolError:
                whole = False
        await self._function.settled()
        return response.status_code, body.decode().removeprefix(":\r\n\r\n"), whole

    async def ask(self, word):
        """(status, body, whether it ended properly)"""
        messages = [{"role": "user", "content": word}]
        identifiers = {"user_id": "u", "conversation_id": "c", "message_id": "m"}
        query = {"type": "query", "version": "1.2", "query": messages, **identifiers}
        return await self.post(query)

    async def serves(self):
        return await self.ask("hello") == (200, BEGUN + DONE, True)

    def log(self):
        """The function's JSON lines so far."""
        return [json.loads(line) for line in self._lines if line.startswith("{")]

    def line(self):
        """The last invocation's."""
        return [line for line in self.log() if "outcome" in line][-1]

    @property
    def text(self):
        return "\n".join(self._lines)

    @property
    def records(self):
        return self._function.records


@pytest.fixture(scope="module")
async def running(build_with_bot, runtime_python):
    """The function, with the lines that it writes. It starts a new process after each that ended,
    so tests share one."""
    lines = []
    config = FunctionConfig(
        build_with_bot(BOT),
        runtime_python,
        environment={"POE_ACCESS_KEY": KEY},
        timeout_s=TIMEOUT_S,
    )
    async with LocalLambda(config, on_line=lines.append) as function:
        yield function, lines


@pytest.fixture
async def function(running):
    started, lines = running
    lines.clear()
    async with httpx.AsyncClient(timeout=20) as http:
        yield Function(started, lines, http)


def error_of(body):
    """The one `error` event's data; `done` follows it and ends the body."""
    assert body.endswith(DONE)
    [event] = [part for part in body.split("\r\n\r\n") if part.startswith("event: error")]
    return json.loads(event.partition("data: ")[2])


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("raise-first", "ValueError"),
        ("raise", "ValueError"),
        ("exit-first", "SystemExit"),
        ("exit", "SystemExit"),
        ("panic", "PanicException"),
        ("interrupted", "KeyboardInterrupt"),
        ("cancelled", "CancelledError"),
        ("bad-event", "TypeError"),
        ("not-an-event", "AttributeError"),
    ],
)
async def test_a_bot_that_fails_ends_with_error_and_done(function, word, kind):
    status, body, whole = await function.ask(word)
    assert (status, whole) == (200, True)
    error = error_of(body)
    assert error["allow_retry"] is False
    assert error["text"] == "The bot encountered an unexpected issue."
    line = function.line()
    assert error["raw_response"] == repr(f"{kind}, request {line['requestId']}")
    assert body.startswith(BEGUN) is not word.endswith("first")
    assert (line["outcome"], line["BotErrors"]) == ("bot_error", 1)
    [logged] = [each for each in function.log() if each.get("errorType") == kind]
    assert logged["stackTrace"]
    assert "the text of an exception" not in function.text + body
    assert await function.serves()


async def test_a_bot_that_yields_nothing_is_done(function):
    assert await function.ask("nothing") == (200, DONE, True)
    assert function.line()["outcome"] == "done"
    assert await function.serves()


@pytest.mark.parametrize("word", ["never", "swallow-once"])
async def test_a_bot_that_never_returns_ends_before_the_deadline_as_poe_wants_it(function, word):
    status, body, whole = await function.ask(word)
    assert (status, whole) == (200, True)
    assert body.startswith(BEGUN)
    assert error_of(body) == {"allow_retry": True, "text": "The bot ran out of time."}
    assert function.records[-1].outcome is Outcome.DONE  # and not TIMEOUT
    line = function.line()
    assert (line["outcome"], line["DeadlineEndings"]) == ("deadline", 1)
    assert await function.serves()
    assert function.records[-1].pid == function.records[-2].pid


async def test_a_bot_that_swallows_every_cancellation_is_ended_without_it(function):
    status, body, whole = await function.ask("swallow")
    assert (status, whole) == (200, True)
    assert error_of(body) == {"allow_retry": True, "text": "The bot ran out of time."}
    pid = function.records[-1].pid
    assert await function.serves()
    assert function.records[-1].pid != pid  # it would have held the process


@pytest.mark.parametrize("word", ["block-first", "block", "busy"])
async def test_a_bot_that_cannot_be_stopped_is_cut_with_an_error_and_the_process_replaced(
    function, word
):
    status, body, whole = await function.ask(word)
    assert (status, body, whole) == (200, "" if word == "block-first" else BEGUN, False)
    record = function.records[-1]
    assert record.error.type == "Deadline"  # by trailers, before Lambda's own end
    assert record.outcome is not Outcome.TIMEOUT
    line = function.line()
    assert (line["outcome"], line["DeadlineEndings"]) == ("deadline", 1)
    [fatal] = [line for line in function.log() if line["level"] == "FATAL"]
    assert fatal["requestId"] == line["requestId"] == record.id
    assert await function.serves()
    assert function.records[-1].pid != record.pid


async def test_a_report_that_hangs_is_cancelled_and_the_process_stays(function):
    identifiers = {"user_id": "u", "conversation_id": "c", "message_id": "m"}
    feedback = {"type": "report_feedback", "version": "1.2", "feedback_type": "like"}
    status, _, _ = await function.post({**feedback, **identifiers})
    assert status == 502
    assert function.records[-1].error.type == "Deadline"
    assert function.line()["outcome"] == "deadline"
    assert await function.serves()
    assert function.records[-1].pid == function.records[-2].pid


async def test_a_report_that_blocks_is_reported_as_an_error_and_the_process_replaced(function):
    report = {"type": "report_error", "version": "1.2", "message": "m", "metadata": {}}
    status, _, _ = await function.post(report)
    assert status == 502
    record = function.records[-1]
    assert record.error.type == "Deadline"
    assert await function.serves()
    assert function.records[-1].pid != record.pid


async def test_settings_that_fail_are_a_500_that_says_nothing(function):
    status, body, whole = await function.post({"type": "settings", "version": "1.2"})
    assert (status, whole) == (500, True)
    assert "text of" not in body + function.text
    assert (function.line()["outcome"], function.line()["BotErrors"]) == ("bot_error", 1)
    assert await function.serves()


async def test_huge_events_arrive_whole_and_are_warned_of(function):
    status, body, whole = await function.ask("huge")
    assert (status, whole) == (200, True)
    assert body.count("x") > 3_000_000
    [warning] = [line for line in function.log() if line["level"] == "WARN"]
    assert "5 events and 3000005 characters" in warning["message"]
    assert await function.serves()


async def test_what_a_bot_prints_is_in_the_log_and_not_in_the_answer(function):
    assert await function.ask("print") == (200, BEGUN + DONE, True)
    assert "printed by the bot" in function.text


@pytest.mark.parametrize("word", ["unfinished", "unfinished stderr", "unfinished progress"])
async def test_a_line_that_a_bot_leaves_unfinished_costs_no_metrics(function, word):
    assert await function.ask(word) == (200, BEGUN + DONE, True)
    assert function.line()["outcome"] == "done"
    assert "half a line" in function.text


async def test_a_bot_that_yields_something_else_is_told_what_to_write(function):
    await function.ask("not-an-event")
    [told] = [line for line in function.log() if "yields" in line.get("message", "")]
    number = 1 + BOT[: BOT.index("    async def get_response")].count("\n")
    assert told["message"] == (
        f"get_response (bot/bot.py:{number}) yields int values: "
        "write `yield fp.PartialResponse(text=…)`"
    )


async def test_what_a_bot_leaves_behind_disturbs_nobody_and_tells_no_text(function):
    assert await function.ask("background") == (200, BEGUN + DONE, True)
    assert await function.serves()
    assert "the text of an exception" not in function.text
    assert "Traceback" not in function.text
    kinds = {line.get("errorType") for line in function.log()}
    assert {"ValueError", "ZeroDivisionError"} <= kinds
