"""The watchdog's last words, and that the process ends whatever becomes of them."""

import asyncio
import json
import threading
import time
from contextlib import asynccontextmanager
from functools import partial

import pytest

from handler.log.record import Record
from handler.runtime import last_words, loop
from handler.runtime.context import Context
from handler.runtime.cycle import DEADLINE, UnexpectedMessage
from handler.runtime.loop import Exchange, Loop
from handler.runtime.runtime_api import RuntimeAPI
from handler.runtime.wire import Invocation
from tests.handler.test_cycle import cycle_of
from tests.handler.test_loop import START
from tests.support.entries import query
from tests.support.package import KEY, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio


class Ended(BaseException):
    """In place of the process's end."""


@pytest.fixture(autouse=True)
def ends(monkeypatch):
    def end(status):
        raise Ended(status)

    monkeypatch.setattr(loop.os, "_exit", end)


class Failing:
    """A Runtime API that can't be reached."""

    def __init__(self, error):
        self._error = error

    def fail_now(self, invocation, failure, seconds):
        raise self._error


def stuck(api):
    """A loop whose invocation never ends."""
    serving = Loop(api, None, Context(), {})
    cycle, _ = cycle_of()
    serving._running["the-id"] = Exchange(api, Invocation("the-id", 0, b""), cycle, Record())
    return serving


@pytest.mark.parametrize("error", [OSError, BlockingIOError, ValueError, RuntimeError])
async def test_the_process_ends_and_has_its_line_although_lambda_cannot_be_told(error, capsys):
    with pytest.raises(Ended, match="1"):
        stuck(Failing(error("a text")))._end_process()
    fatal, line = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (fatal["level"], fatal["requestId"]) == ("FATAL", "the-id")
    assert (line["outcome"], line["requestId"]) == ("deadline", "the-id")


async def test_the_process_ends_although_its_line_cannot_be_written(monkeypatch):
    serving = stuck(Failing(OSError()))
    monkeypatch.setattr(serving._reporter, "write", lambda report: 1 / 0)
    with pytest.raises(Ended, match="1"):
        serving._end_process()


async def test_an_app_that_is_let_go_meanwhile_can_add_nothing():
    """It would stand behind the trailers."""
    serving = stuck(Failing(OSError()))
    with pytest.raises(Ended):
        serving._end_process()
    with pytest.raises(UnexpectedMessage):
        await serving._running["the-id"].cycle.send(START)


async def test_two_threads_that_come_to_the_end_say_the_last_words_once(monkeypatch):
    said = []
    monkeypatch.setattr(loop.os, "_exit", lambda status: threading.Event().wait())
    monkeypatch.setattr(last_words, "give_up", lambda *arguments: said.append(arguments))
    serving = stuck(Failing(OSError()))
    for end in (serving._end_process, serving._end_blocked):
        threading.Thread(target=end, daemon=True).start()
    await asyncio.sleep(0.3)
    assert len(said) == 1


async def test_lambda_is_told_although_the_place_cannot_be_found(monkeypatch):
    monkeypatch.setattr(last_words, "Stuck", lambda: 1 / 0)
    told = []
    api = Failing(OSError())
    api.fail_now = lambda invocation, failure, seconds: told.append(failure)
    with pytest.raises(Ended):
        stuck(api)._end_process()
    assert told == [DEADLINE]


@asynccontextmanager
async def answering_after(seconds):
    """A Runtime API's address, and the answers that it has sent, each after so long."""
    answers, writers = [], []

    async def answer(reader, writer):
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(seconds)
        answers.append(202)
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}", answers
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def last_words_of(say):
    return await asyncio.to_thread(lambda: [*last_words.say([say])])


async def fail_before_an_answer(api):
    return await last_words_of(partial(api.fail_now, Invocation("id", 0, b""), DEADLINE))


async def fail_midway(api):
    stream = await api.stream(Invocation("id", 0, b""))
    stream.write(b"{}")
    stream._connection._transport.pause_reading()  # as where the event loop is stuck
    try:
        return await last_words_of(lambda seconds: stream.fail_now(DEADLINE))
    finally:
        stream._connection.close()


FAILING = pytest.mark.parametrize("fail", [fail_before_an_answer, fail_midway])


@FAILING
async def test_the_last_word_waits_until_lambda_has_it(monkeypatch, fail):
    """The process's end could take it along."""
    monkeypatch.setattr(last_words, "LAST_WRITE", 5)
    async with answering_after(0.1) as (address, answers):
        await fail(RuntimeAPI(address))
        assert answers == [202]


@FAILING
async def test_the_last_word_does_not_wait_for_long(fail):
    async with answering_after(60) as (address, _):
        [error] = await asyncio.wait_for(fail(RuntimeAPI(address)), 5)
        assert isinstance(error, TimeoutError)


BOT = """
import asyncio, time
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        asyncio.get_running_loop().call_later(0.5, time.sleep, 60)
        yield fp.PartialResponse(text="x" * 50_000_000)

bot = Bot()
"""


async def test_a_bot_that_blocks_behind_a_half_sent_event_is_ended(build_with_bot, runtime_python):
    event = function_url_event(
        headers={"authorization": f"Bearer {KEY}"}, body=query("x").model_dump_json()
    )
    async with started(build_with_bot(BOT), runtime_python) as process:
        double = process.double
        double.read_bodies.clear()
        double.headers = {"Lambda-Runtime-Deadline-Ms": str(int((time.time() + 6) * 1000))}
        double._events.put_nowait(json.dumps(event).encode())
        status, lines = await process.end()
        double.read_bodies.set()
    assert status == 1
    assert lines[-1]["outcome"] == "deadline"
