"""Hostile servers, apps and bots: what each must not do to the next request."""

import asyncio
import json
import threading
import time
from contextvars import ContextVar

import fastapi_poe as fp
import pytest

from handler.app.dispatch import App
from handler.runtime import watchdog
from handler.runtime.runtime_api import RuntimeAPI
from tests.handler.test_cycle import cycle_of
from tests.handler.test_dispatch import Bot, post, query
from tests.handler.test_loop import EVENT, START, after_a_failure, body, hello, looping
from tests.handler.test_rotation import NEW, OLD, bot_module, clock, served, status
from tests.support.runtime_api import function_url_event

__all__ = ["bot_module", "clock"]

pytestmark = pytest.mark.anyio


async def test_a_context_variable_of_one_request_is_unknown_to_the_next():
    user, seen = ContextVar("user", default="nobody"), []

    async def app(scope, receive, send):
        seen.append(user.get())
        user.set("alice")
        await hello(scope, receive, send)

    async with looping(app) as double:
        await double.invoke(EVENT)
        await double.invoke(EVENT)
    assert seen == ["nobody", "nobody"]


@pytest.mark.parametrize("seconds", [0, 0.1])
async def test_an_app_that_cancels_its_own_task_now_or_later_leaves_the_loop_alone(seconds):
    first = [True]

    async def app(scope, receive, send):
        if first:
            first.clear()
            asyncio.get_running_loop().call_later(seconds, asyncio.current_task().cancel)
            if not seconds:
                await asyncio.sleep(1)
        await hello(scope, receive, send)

    async with looping(app) as double:
        await double.invoke(EVENT)
        await asyncio.sleep(0.2)
        assert await after_a_failure(double)


class Ошибка(BaseException):
    pass


@pytest.mark.parametrize("midway", [False, True])
async def test_any_exception_with_any_name_is_reported(midway):
    first = [True]

    async def app(scope, receive, send):
        if first:
            first.clear()
            if midway:
                await send(START)
            raise Ошибка
        await hello(scope, receive, send)

    async with looping(app) as double:
        request = await double.invoke(EVENT)
        assert await after_a_failure(double)
    head = request.trailers if midway else request.headers
    assert head["lambda-runtime-function-error-type"] == "??????"


async def test_an_answer_that_the_runtime_api_refuses_is_not_done(capsys):
    async with looping(hello) as double:
        double.status = 413
        await double.invoke(EVENT)
        await double.asked_for_the_next()
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["outcome"] == "runtime_error"


async def test_a_refusal_that_comes_before_the_end_is_named(caplog):
    """The Runtime API answers 413 and hangs up while the app still writes."""

    async def app(scope, receive, send):
        await send(START)
        for _ in range(100):
            await send(body(b"x", more=True))
            await asyncio.sleep(0.005)

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with looping(app) as double:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        api = RuntimeAPI(f"{host}:{port}")
        invocation = asyncio.ensure_future(double.invoke(EVENT))
        real = RuntimeAPI.stream
        RuntimeAPI.stream = lambda self, each: real(api, each)
        try:
            await asyncio.sleep(0.5)
        finally:
            RuntimeAPI.stream = real
            invocation.cancel()
            server.close()
        double.violations.clear()  # it still waits for the answer that went elsewhere
    assert "answered 413 to `response`" in caplog.text


async def test_next_on_a_connection_that_was_closed_meanwhile_does_not_fail(caplog):
    async with looping(hello) as double:
        double.close_after_next = True
        for _ in range(3):
            await double.invoke(EVENT)
    assert "failed" not in caplog.text


async def test_a_header_in_latin_1_is_a_header():
    cycle, stream = cycle_of()
    await cycle.send({**START, "headers": [(b"x-name", "é".encode("latin-1"))]})
    assert json.loads(stream.writes[0])["headers"] == {"x-name": "é"}


async def test_an_app_with_a_state_of_its_own_disturbs_no_line():
    async def app(scope, receive, send):
        scope["state"] |= {"query": "mine", "type": 7}
        await hello(scope, receive, send)

    async with looping(app) as double:
        assert await after_a_failure(double)
        assert await after_a_failure(double)


async def test_an_event_stream_of_a_known_length_gets_no_comment():
    cycle, stream = cycle_of()
    headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"9")]
    await cycle.send({**START, "headers": headers})
    assert len(stream.writes) == 2


@pytest.mark.parametrize("armed_before", [False, True])
async def test_the_watchdog_wakes_though_only_the_wall_clock_went_on(monkeypatch, armed_before):
    ahead = [0.0]
    real = time.time
    monkeypatch.setattr(watchdog.time, "time", lambda: real() + ahead[0])
    barked = threading.Event()
    dog = watchdog.Watchdog(barked.set)
    dog.start()
    if armed_before:
        dog.arm("a", time.time() + 0.1)
        dog.disarm("a")
    await asyncio.sleep(0.3)
    ahead[0] = 7200  # frozen for two hours
    dog.arm("b", time.time() + 0.1)
    assert await asyncio.to_thread(barked.wait, 3)


async def test_a_path_that_only_a_router_takes_for_the_bots_is_unknown():
    assert (await post(App([Bot(access_key="k" * 32)]), query(), path="/%0A")).status_code == 404


async def test_the_key_follows_its_own_member_though_another_has_the_same_value(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD, "SPARE_KEY": OLD})
    secret.members = {"POE_ACCESS_KEY": NEW, "SPARE_KEY": OLD}
    clock.now += 300
    assert await status(app, NEW) == 200


class NotAGenerator(fp.PoeBot):
    def handle_query(self, request, context):
        raise ValueError


async def test_a_handle_query_that_fails_at_once_ends_the_answer_properly():
    response = await post(App([NotAGenerator(access_key="k" * 32)]), query())
    assert response.text.endswith("event: done\r\ndata: {}\r\n\r\n")


@pytest.mark.parametrize("size", [4, 4_000_000])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [("", 401), ("Bearer x", 401), ("Bearer " + "w" * 32, 401), ("Bearer " + "k" * 32, 400)],
)
async def test_a_body_is_decoded_for_the_key_alone(authorization, status, size):
    """A caller without the key doesn't learn that it is broken."""
    event = function_url_event(
        headers={"authorization": authorization}, body="!" * size, isBase64Encoded=True
    )
    async with looping(App([Bot(access_key="k" * 32)])) as double:
        request = await double.invoke(event)
        assert await after_a_failure(double)
    assert request.prelude["statusCode"] == status
