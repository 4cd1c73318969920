"""Many invocations at once in one process: what happens to one of them reaches no other.

The double hands out none beyond the slots, and refuses a `next` more than there are slots.
"""

import asyncio
import contextvars
import json
import os
import sys
import threading
import time
from contextlib import asynccontextmanager, suppress

import pytest

from handler.log import lines
from handler.log.output import Output
from handler.runtime.context import Context
from handler.runtime.deadlines import WATCHDOG_MARGIN
from handler.runtime.loop import Loop
from handler.runtime.runtime_api import RuntimeAPI
from handler.secret.cache import CachedSecret
from local.aws_lambda.service import FunctionConfig, LocalLambda
from tests.handler.test_loop import START, body
from tests.support.entries import ask as ask_bot
from tests.support.entries import query
from tests.support.package import KEY, started
from tests.support.runtime_api import RuntimeAPIDouble, function_url_event

pytestmark = pytest.mark.anyio

SLOTS = 4


@asynccontextmanager
async def looping(app, slots=SLOTS):
    """The double and the task that serves `app`, up to `slots` invocations at once."""
    double = RuntimeAPIDouble(concurrency=slots)
    async with double.serve() as address:
        loop = Loop(RuntimeAPI(address), app, Context("poe-bot"), {}, slots)
        task = asyncio.ensure_future(loop.run())
        await double.idle(slots)
        try:
            yield double, task
            await double.ends()
        finally:
            task.cancel()
            await asyncio.wait([task])


def event(path="/"):
    return function_url_event(path=path)


def in_seconds(seconds):
    return {"Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1000))}


class Paths:
    """An app that does something else on each path; `/together` waits until `all_there`."""

    def __init__(self, parties=SLOTS):
        self.barrier = asyncio.Barrier(parties)

    async def __call__(self, scope, receive, send):
        await send(START)
        await send(body(b"begun", more=True))
        await self.barrier.wait()
        await getattr(self, scope["path"].strip("/"))(send)
        await send(body(b"whole"))

    async def fine(self, send):
        await asyncio.sleep(0.05)

    async def fails(self, send):
        raise ValueError

    async def exits(self, send):
        sys.exit(1)

    async def never(self, send):
        await asyncio.Event().wait()

    async def cancels(self, send):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    async def swallows(self, send):
        for _ in range(100):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)


def is_whole(request):
    return request.frames[2:] == [b"begun", b"whole"] and not request.trailers


async def test_as_many_are_served_at_once_as_there_are_slots():
    async with looping(Paths()) as (double, _):
        answers = await asyncio.gather(*(double.ask(event("/fine")) for _ in range(SLOTS)))
        assert all(map(is_whole, answers))
        await double.idle(SLOTS)
        assert len({answer.id for answer in answers}) == SLOTS
        again = await asyncio.gather(*(double.ask(event("/fine")) for _ in range(SLOTS)))
        assert all(map(is_whole, again))


@pytest.mark.parametrize("path", ["fails", "exits", "never", "cancels", "swallows"])
async def test_what_ends_one_answer_ends_no_other(path):
    async with looping(Paths()) as (double, _):
        bad = asyncio.ensure_future(double.ask(event(f"/{path}"), **in_seconds(1.5)))
        fine = await asyncio.gather(*(double.ask(event("/fine")) for _ in range(SLOTS - 1)))
        assert all(map(is_whole, fine))
        assert (await bad).trailers
        await double.idle(SLOTS)  # its slot serves on as well


async def test_an_app_that_was_left_behind_can_add_nothing_to_its_answer():
    late = asyncio.Event()
    errors = []

    async def app(scope, receive, send):
        await send(START)
        while not late.is_set():
            with suppress(asyncio.CancelledError):
                await late.wait()
        try:
            await send(body(b"late"))
        except Exception as error:
            errors.append(str(error))

    async with looping(app) as (double, _):
        answer = await double.ask(event(), **in_seconds(1.2))
        assert answer.frames[2:] == []
        assert answer.trailers["lambda-runtime-function-error-type"] == "Deadline"
        late.set()
        await double.idle(SLOTS)
    assert errors == ["http.response.body is not allowed while COMPLETE"]


async def test_each_has_its_own_request_id_context_and_deadline(monkeypatch):
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    own = contextvars.ContextVar("own", default="nobody's")
    seen = {}
    barrier = asyncio.Barrier(SLOTS)

    async def app(scope, receive, send):
        before = own.get()
        own.set(scope["path"])
        await barrier.wait()
        context = scope["aws.context"]
        assert lines.request_id.get() == context.aws_request_id
        assert "_X_AMZN_TRACE_ID" not in os.environ  # it can be only one's
        seen[own.get()] = (before, context.trace_id, context.get_remaining_time_in_millis() > 60000)
        await send(START)
        await send(body())

    async with looping(app) as (double, _):
        for _ in range(2):
            answers = [
                double.ask(
                    event(f"/{number}"),
                    **in_seconds(30 if number else 300),
                    **{"Lambda-Runtime-Trace-Id": f"Root={number}"},
                )
                for number in range(SLOTS)
            ]
            await asyncio.gather(*answers)
            assert seen == {
                f"/{number}": ("nobody's", f"Root={number}", number == 0) for number in range(SLOTS)
            }
            await double.idle(SLOTS)


async def test_each_writes_a_line_of_its_own_and_one_is_the_cold_start(capsys):
    async with looping(Paths()) as (double, _):
        answers = await asyncio.gather(*(double.ask(event("/fine")) for _ in range(SLOTS)))
        await double.idle(SLOTS)
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["requestId"] for line in written} == {answer.id for answer in answers}
    assert sorted(line["cold_start"] for line in written) == [False] * (SLOTS - 1) + [True]
    assert all(line["outcome"] == "done" for line in written)


async def test_a_client_that_does_not_read_stops_nobody_else():
    async def app(scope, receive, send):
        await send(START)
        if scope["path"] == "/huge":
            for _ in range(400):
                await send(body(b"x" * 65_536, more=True))
        await send(body(b"whole"))

    async with looping(app) as (double, _):
        take, held = double._body, asyncio.Event()

        async def unread(reader, request):
            await held.wait()
            await take(reader, request)

        double._body = unread
        huge = asyncio.ensure_future(double.ask(event("/huge")))
        while not double.requests:
            await asyncio.sleep(0.001)
        double._body = take
        for _ in range(2 * SLOTS):
            assert (await double.ask(event())).frames[2:] == [b"whole"]
            await double.idle(SLOTS - 1)
        assert not huge.done()
        held.set()
        assert (await huge).complete


async def test_a_whole_answer_that_lambda_takes_late_ends_no_process(monkeypatch):
    ended = []
    monkeypatch.setattr(Loop, "_end_process", lambda *_: ended.append("by the watchdog"))

    async def app(scope, receive, send):
        await send(START)
        await send(body(b"whole"))

    async with looping(app) as (double, _):
        take = double._body

        async def late(reader, request):
            await asyncio.sleep(1)
            await take(reader, request)

        double._body = late
        assert (await double.ask(event(), **in_seconds(WATCHDOG_MARGIN + 0.4))).complete
    assert not ended


BOT = """
import asyncio, sys, threading, time
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        word = request.query[-1].content
        yield fp.PartialResponse(text="begun")
        if word == "exit":
            async def leave():
                sys.exit(3)
            self.task = asyncio.create_task(leave())
        elif word == "stop":
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        elif word == "block":
            time.sleep(60)
        elif word == "swallow":
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        await asyncio.sleep(0.2)
        print(f"{word} prints")
        yield fp.PartialResponse(text=" and whole")

bot = Bot()
"""


def asking(text):
    headers = {"authorization": f"Bearer {KEY}"}
    return function_url_event(headers=headers, body=query(text).model_dump_json())


def text_of(request):
    data = [line for line in request.body.decode().split("\r\n") if line.startswith("data: ")]
    return "".join(json.loads(line.removeprefix("data: ")).get("text", "") for line in data)


@asynccontextmanager
async def serving(package, python, slots=SLOTS):
    environment = {"POE_ACCESS_KEY": KEY, "AWS_LAMBDA_MAX_CONCURRENCY": str(slots)}
    async with started(package, python, environment, concurrency=slots) as process:
        await process.double.idle(slots)
        yield process


@pytest.fixture(scope="module")
def package_of_many(build_with_bot):
    return build_with_bot(BOT)


@pytest.mark.parametrize("word", ["exit", "stop"])
async def test_a_background_task_that_ends_the_process_ends_itself_alone(
    package_of_many, runtime_python, word
):
    async with serving(package_of_many, runtime_python) as process:
        ask = process.double.ask
        answers = await asyncio.gather(ask(asking(word)), *(ask(asking(f"{n}")) for n in range(3)))
        assert [text_of(answer) for answer in answers] == ["begun and whole"] * SLOTS
        await process.double.idle(SLOTS)
        assert text_of(await ask(asking("later"))) == "begun and whole"


async def test_a_bot_that_blocks_takes_the_process_along_but_all_are_told(
    package_of_many, runtime_python
):
    slots = 16
    async with serving(package_of_many, runtime_python, slots) as process:
        ask = process.double.ask
        early = await ask(asking("fine"))
        assert await process.line() == "fine prints"
        limit = in_seconds(3)
        others = [asyncio.ensure_future(ask(asking("swallow"))) for _ in range(slots - 2)]
        await asyncio.sleep(0.3)
        blocking = ask(asking("block"), **limit)
        answers = await asyncio.gather(blocking, *others)
        assert all(
            answer.trailers["lambda-runtime-function-error-type"] == "Deadline"
            for answer in answers
        )
        status, written = await process.end()
    assert status == 1
    ended = [line["requestId"] for line in written if "outcome" in line]
    assert sorted(ended) == sorted(answer.id for answer in (early, *answers)), "a line for each"


async def test_the_local_lambda_sends_as_many_at_once(package_of_many, runtime_python):
    config = FunctionConfig(
        package_of_many, runtime_python, environment={"POE_ACCESS_KEY": KEY}, concurrency=8
    )
    async with LocalLambda(config, on_line=print) as function:
        await function.warm()
        answers = await asyncio.gather(*(ask_bot(function.url, f"{number}") for number in range(8)))
        assert answers == ["begun and whole"] * 8
        await function.settled()
        assert len({record.pid for record in function.records}) == 1


class Reading:
    """A secret whose reads wait for `release`."""

    def __init__(self, error=None):
        self.reads, self.release, self._error = 0, threading.Event(), error
        self.cached = CachedSecret(
            self.read, lambda members: [], iter(range(0, 10**6, 60)).__next__
        )

    def read(self):
        self.reads += 1
        assert self.release.wait(10)
        if self._error:
            raise self._error
        return {}


async def test_one_read_of_the_secret_serves_all_who_wait_although_the_first_goes_away():
    reading = Reading()
    waiting = [asyncio.create_task(reading.cached.read_again()) for _ in range(64)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()
    await asyncio.sleep(0)
    reading.release.set()
    assert await asyncio.gather(*waiting[1:]) == [True] * 63
    assert reading.reads == 1


async def test_a_read_that_fails_is_counted_once():
    reading = Reading(OSError())
    reading.release.set()

    async def ask():
        fresh = await reading.cached.read_again()
        return fresh, reading.cached.take_failures()

    answers = await asyncio.gather(*(ask() for _ in range(64)))
    assert not any(fresh for fresh, _ in answers)
    assert sum(failures for _, failures in answers) == 1


async def test_the_secret_is_read_although_bots_fill_asyncios_threads():
    reading, go_on = Reading(), threading.Event()
    reading.release.set()
    bots = [asyncio.create_task(asyncio.to_thread(go_on.wait, 10)) for _ in range(64)]
    try:
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(reading.cached.read_again(), 5)
    finally:
        go_on.set()
        await asyncio.gather(*bots)


async def test_what_a_library_prints_is_reported_under_its_own_request():
    """Two prints at the same place, while both requests are under way."""
    reported = []
    printed = lambda *words: reported.append((lines.request_id.get(), words[2]))  # noqa: E731
    stream = Output("stdout", sys.__stdout__, printed, lambda *_: False, by_line=False)
    contexts = {name: contextvars.copy_context() for name in "ab"}
    for name, context in contexts.items():
        context.run(lines.request_id.set, name)
        context.run(stream._keep, name.encode(), "library.py:1")
    stream.settle()
    assert reported == [("a", "a"), ("b", "b")]
