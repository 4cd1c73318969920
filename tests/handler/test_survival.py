"""A bot that cancels every task of the process, or stops its event loop, takes the host's along
neither way. The real package, for one invocation at a time and for several."""

import asyncio
import json
import signal
import threading
from contextlib import asynccontextmanager

import anyio.to_thread
import pytest

from handler.__main__ import _run
from handler.secret.cache import CachedSecret
from tests.handler.test_many import asking, text_of
from tests.support.package import KEY, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

BOT = """
import asyncio, sys
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        word = request.query[-1].content
        yield fp.PartialResponse(text="begun")
        loop = asyncio.get_running_loop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if word == "cancel all":
            for task in asyncio.all_tasks():
                task.cancel()
        elif word == "cancel others":
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        elif word == "cancel from outside":
            async def cancel():
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
            self.task = asyncio.create_task(cancel())
        elif word == "cancel in a callback":
            loop.call_soon(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        elif word == "stop":
            loop.call_soon(loop.stop)
        elif word == "exit":
            loop.call_soon(sys.exit)
        elif word == "interrupt":
            def interrupt():
                raise KeyboardInterrupt
            loop.call_soon(interrupt)
        await asyncio.sleep(0.1 if word != "long" else 1)
        yield fp.PartialResponse(text=" and whole")

bot = Bot()
"""
WAYS_TO_CANCEL = (
    *("cancel all", "cancel others", "cancel from outside"),
    "cancel in a callback",
)
WAYS_TO_STOP = ("stop", "exit", "interrupt")


@pytest.fixture(scope="module")
def package(build_with_bot):
    return build_with_bot(BOT)


@asynccontextmanager
async def serving(package, python, slots):
    environment = {"POE_ACCESS_KEY": KEY}
    if slots > 1:
        environment["AWS_LAMBDA_MAX_CONCURRENCY"] = str(slots)
    async with started(package, python, environment, concurrency=slots) as process:
        await process.double.idle(slots)
        yield process


async def all_serve_on(process, slots):
    for _ in range(2):
        await process.double.idle(slots)
        answers = await asyncio.gather(*(process.double.ask(asking("x")) for _ in range(slots)))
        assert [text_of(answer) for answer in answers] == ["begun and whole"] * slots


@pytest.mark.parametrize("word", WAYS_TO_CANCEL)
async def test_a_bot_that_cancels_all_tasks_ends_no_answer(package, runtime_python, word):
    slots = 4
    async with serving(package, runtime_python, slots) as process:
        ask = process.double.ask
        others = [asyncio.ensure_future(ask(asking("long"))) for _ in range(slots - 2)]
        while len(process.double.requests) < len(others):
            await asyncio.sleep(0.001)
        answers = await asyncio.gather(ask(asking(word)), *others)
        assert [text_of(answer) for answer in answers] == ["begun and whole"] * len(answers)
        await all_serve_on(process, slots)


@pytest.mark.parametrize("word", WAYS_TO_CANCEL)
async def test_one_at_a_time_it_ends_at_most_its_own(package, runtime_python, word):
    async with serving(package, runtime_python, 1) as process:
        answer = await process.double.ask(asking(word))
        if word == "cancel others":
            assert text_of(answer) == "begun and whole"
        else:
            assert text_of(answer) == "begun"
            assert answer.error["errorType"] == "CancelledError"
        await all_serve_on(process, 1)


async def test_a_bot_that_cancels_all_tasks_leaves_its_app_up(build_with_bot, runtime_python):
    source = f"""{BOT}
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    app.is_up = True
    try:
        yield
    finally:
        app.is_up = False

app = FastAPI(lifespan=lifespan)

@app.get("/up")
async def up():
    return app.is_up
"""
    async with serving(build_with_bot(source), runtime_python, 4) as process:
        assert text_of(await process.double.ask(asking("cancel others"))) == "begun and whole"
        up = await process.double.ask(function_url_event("GET", "/up"))
        assert up.frames[2] == b"true"


async def test_a_read_of_the_secret_is_not_lost_with_all_tasks():
    cached = CachedSecret(dict, lambda members: [], iter(range(0, 10**6, 60)).__next__)
    waiting = asyncio.create_task(cached.read_again())
    known = asyncio.all_tasks()
    await asyncio.sleep(0)  # the read is a task now, which has yet to begin
    for task in asyncio.all_tasks() - known:
        task.cancel()
    assert await waiting
    assert await cached.read_again()


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("word", WAYS_TO_STOP)
async def test_a_bot_that_stops_the_loop_ends_no_answer(package, runtime_python, word, slots):
    async with serving(package, runtime_python, slots) as process:
        words = [word, *["x"] * (slots - 1)]
        answers = await asyncio.gather(*(process.double.ask(asking(each)) for each in words))
        assert [text_of(answer) for answer in answers] == ["begun and whole"] * slots
        await all_serve_on(process, slots)
        line = json.loads(await process.line())
        assert line["message"] == "a task that the bot started tried to end the process"


async def test_ctrl_c_ends_the_process(package, runtime_python):
    """Where a person has started it by hand."""
    async with serving(package, runtime_python, 1) as process:
        process._process.send_signal(signal.SIGINT)
        status, _ = await process.end()
    assert status == -signal.SIGINT


def test_a_thread_of_anyios_serves_one_request_after_another():
    """As under any server: `def` routes run in them, and keep clients in thread-locals."""

    async def request():
        return await anyio.to_thread.run_sync(threading.current_thread)

    async def serving():
        return len({await asyncio.create_task(request()) for _ in range(3)})

    with asyncio.Runner() as runner:
        assert _run(runner.get_loop(), serving()) == 1


def test_a_bot_that_cancels_all_tasks_gets_a_line_without_the_hosts_own_code(caplog):
    async def serving():
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(0.01)
        return 7

    with asyncio.Runner() as runner:
        assert _run(runner.get_loop(), serving()) == 7
    [record] = caplog.records
    assert "cancelled tasks that aren't its own" in record.getMessage()
    assert not record.exc_info


def test_what_cancels_the_serving_itself_ends_it():
    async def serving():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    with asyncio.Runner() as runner, pytest.raises(asyncio.CancelledError):
        _run(runner.get_loop(), serving())
