"""The loop with ASGI apps of every kind, against a strict double of the Runtime API."""

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager

import fastapi_poe as fp
import pytest

from handler.log import lines, records
from handler.log.record import record_of
from handler.runtime.context import Context
from handler.runtime.lifespan import StartupFailed, lifespan
from handler.runtime.loop import Loop
from handler.runtime.runtime_api import RuntimeAPI
from tests.support.runtime_api import RuntimeAPIDouble, function_url_event

pytestmark = pytest.mark.anyio

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain")],
}
EVENT = function_url_event()


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


@asynccontextmanager
async def looping(app, state=None):
    """The double, with the loop serving `app` on it."""
    double = RuntimeAPIDouble()
    async with double.serve() as address:
        loop = Loop(RuntimeAPI(address), app, Context("poe-bot"), state or {})
        task = asyncio.ensure_future(loop.run())
        try:
            yield double
            await double.ends()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def hello(scope, receive, send):
    await send(START)
    await send(body(b"hello"))


async def after_a_failure(double):
    """The next request is served, whatever happened before it."""
    return (await double.invoke(EVENT)).complete


async def test_a_response_is_streamed_and_ends_without_trailers():
    async with looping(hello) as double:
        request = await double.invoke(EVENT)
    assert request.frames == [
        b'{"statusCode": 200, "headers": {"content-type": "text/plain"}}',
        b"\0" * 8,
        b"hello",
    ]
    assert not request.trailers


async def test_each_piece_leaves_before_the_next_is_made():
    double_has = []

    async def app(scope, receive, send):
        await send(START)
        for number in range(3):
            await send(body(b"%d" % number, more=True))
            while not double.requests or double.requests[-1].frames[2:][-1:] != [b"%d" % number]:
                await asyncio.sleep(0.001)
            double_has.append(number)
        await send(body())

    async with looping(app) as double:
        request = await double.invoke(EVENT)
    assert double_has == [0, 1, 2]
    assert request.frames[2:] == [b"0", b"1", b"2"]


async def test_an_app_that_raises_before_its_response_is_reported_as_an_error():
    errors = [ValueError("a user's message")]

    async def app(scope, receive, send):
        if errors:
            raise errors.pop()
        await hello(scope, receive, send)

    async with looping(app) as double:
        request = await double.invoke(EVENT)
        assert await after_a_failure(double)
    assert request.kind == "error"
    document = json.loads(request.body)
    assert document["errorType"] == "ValueError"
    assert "a user's message" not in json.dumps(document)
    assert any("in app" in place for place in document["stackTrace"])


@pytest.mark.parametrize("error", [ValueError, SystemExit])
async def test_an_app_that_raises_midway_ends_its_body_with_trailers(error):
    errors = [error("a user's message")]

    async def app(scope, receive, send):
        await send(START)
        await send(body(b"half", more=True))
        if errors:
            raise errors.pop()
        await send(body())

    async with looping(app) as double:
        request = await double.invoke(EVENT)
        assert await after_a_failure(double)
    assert request.frames[2:] == [b"half"]  # and no "Internal Server Error" in it
    assert request.trailers["lambda-runtime-function-error-type"] == error.__name__
    assert "a user's message" not in json.dumps(request.error)


async def test_an_app_that_raises_after_its_response_has_answered(capsys):
    """Starlette sends its 500 and raises again."""

    async def app(scope, receive, send):
        await hello(scope, receive, send)
        raise ValueError

    async with looping(app) as double:
        request = await double.invoke(EVENT)
        assert await after_a_failure(double)
    assert request.complete
    assert not request.trailers
    assert [each.kind for each in double.requests] == ["response", "response"]


async def test_an_app_that_returns_without_a_response_is_reported():
    async def app(scope, receive, send):
        pass

    async with looping(app) as double:
        request = await double.invoke(EVENT)
    assert request.kind == "error"
    assert json.loads(request.body)["errorType"] == "IncompleteResponse"


async def test_an_app_that_returns_midway_ends_its_body_with_trailers():
    async def app(scope, receive, send):
        await send(START)

    async with looping(app) as double:
        request = await double.invoke(EVENT)
    assert request.trailers["lambda-runtime-function-error-type"] == "IncompleteResponse"


async def test_a_head_request_ends_at_once_however_long_the_app_goes_on():
    going_on = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await going_on.wait()
        await send(body(b"not for HEAD"))

    async with looping(app) as double:
        answer = asyncio.ensure_future(double.invoke(function_url_event("HEAD")))
        while not (double.requests and double.requests[0].complete):
            await asyncio.sleep(0.001)
        assert not going_on.is_set()
        going_on.set()
        request = await answer
    assert len(request.frames) == 2
    assert not request.trailers


@pytest.mark.parametrize(
    "event",
    [
        b"not json",
        {"key1": "value1"},
        {"source": "aws.events", "detail-type": "Scheduled Event"},
        [1],
        None,
    ],
)
async def test_an_event_from_elsewhere_gets_a_clear_answer_and_the_loop_goes_on(event):
    async with looping(hello) as double:
        request = await double.invoke(event)
        assert await after_a_failure(double)
    assert request.kind == "response"
    answer = json.loads(request.body)
    assert answer["statusCode"] == 400
    assert "event" in json.loads(answer["body"])["error"]


@pytest.mark.parametrize(
    "broken",
    [{"body": "!", "isBase64Encoded": True}, {"headers": [1]}],
)
async def test_a_broken_function_url_event_is_refused_and_the_loop_goes_on(broken):
    async def reading(scope, receive, send):
        await receive()
        await hello(scope, receive, send)

    async with looping(reading) as double:
        request = await double.invoke({**EVENT, **broken})
        assert await after_a_failure(double)
    assert request.prelude["statusCode"] == 400
    assert request.frames[1] == b"\0" * 8
    assert json.loads(request.frames[2])["error"]


@pytest.mark.parametrize("missing", ["headers", "rawQueryString"])
async def test_an_event_with_nulls_or_without_headers_is_served(missing):
    absent = {name: value for name, value in EVENT.items() if name != missing}
    async with looping(hello) as double:
        for event in (absent, {**EVENT, missing: None}):
            request = await double.invoke(event)
            assert request.prelude["statusCode"] == 200


async def test_trace_id_request_id_and_context_are_those_of_the_invocation(monkeypatch):
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    seen = []

    async def app(scope, receive, send):
        context = scope["aws.context"]
        seen.append(
            (os.environ.get("_X_AMZN_TRACE_ID"), lines.request_id.get() == context.aws_request_id)
        )
        assert context.function_name == "poe-bot"
        assert context.invoked_function_arn.endswith(":live")
        assert context.get_remaining_time_in_millis() > 0
        await hello(scope, receive, send)

    async with looping(app) as double:
        double.headers = {"Lambda-Runtime-Trace-Id": "Root=1-5bef4de7;Sampled=1"}
        await double.invoke(EVENT)
        double.headers = {}
        await double.invoke(EVENT)  # was polled for with the header still there
        await double.invoke(EVENT)
    assert seen[0] == ("Root=1-5bef4de7;Sampled=1", True)
    assert seen[-1] == (None, True)


async def test_the_watchdog_leaves_an_invocation_alone_that_has_ended(monkeypatch):
    barks = []
    monkeypatch.setattr(Loop, "_end_process", lambda self: barks.append(time.time()))
    async with looping(hello) as double:
        # What it is armed with is half a second away, and the next invocation never comes.
        double.headers = {"Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 900)}
        assert await after_a_failure(double)
        await asyncio.sleep(0.8)
    assert barks == []


async def test_the_watchdog_leaves_an_invocation_alone_that_the_loop_itself_ends(monkeypatch):
    """Lambda takes a moment for the failure; the process stays for the next invocation."""
    barks = []
    monkeypatch.setattr(Loop, "_end_process", lambda self: barks.append(time.time()))

    async def app(scope, receive, send):
        if scope["path"] == "/never":
            await asyncio.Event().wait()
        await hello(scope, receive, send)

    async with looping(app) as double:
        double.headers = {"Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 1500)}
        double.read_bodies.clear()
        asyncio.get_running_loop().call_later(1.5, double.read_bodies.set)
        request = await double.invoke(function_url_event(path="/never"))
        assert request.kind == "error"
        double.headers = {}
        assert await after_a_failure(double)
    assert barks == []


async def test_one_event_loop_and_one_lifespan_serve_all_requests():
    loops, states = set(), []

    async def app(scope, receive, send):
        loops.add(id(asyncio.get_running_loop()))
        if scope["type"] == "lifespan":
            states.append("started")
            scope["state"]["shared"] = ["made at startup"]
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            states.append("stopped")
            await send({"type": "lifespan.shutdown.complete"})
        else:
            scope["state"]["own"] = len(states)
            states.append(scope["state"]["shared"])
            await hello(scope, receive, send)

    async with lifespan(app) as state, looping(app, state) as double:
        await double.invoke(EVENT)
        await double.invoke(EVENT)
    assert states == ["started", ["made at startup"], ["made at startup"], "stopped"]
    assert "own" not in state
    assert len(loops) == 1


async def test_sse_starlettes_responses_are_whole():
    """It stops at a disconnect, and asks for the next message for as long as it streams."""

    class Bot(fp.PoeBot):
        async def get_response(self, request):
            for number in range(3):
                await asyncio.sleep(0.01)
                yield fp.PartialResponse(text=str(number))

    key = "k" * 32
    document = {"type": "query", "version": "1.2", "query": [{"role": "user", "content": "x"}]}
    identifiers = {"user_id": "u", "conversation_id": "c", "message_id": "m"}
    event = function_url_event(
        headers={"authorization": f"Bearer {key}"}, body=json.dumps(document | identifiers)
    )
    async with looping(fp.make_app(Bot(access_key=key))) as double:
        for _ in range(2):
            request = await double.invoke(event)
            assert request.frames[2] == b":\r\n\r\n"
            assert b"".join(request.frames[3:]).count(b"event: ") == 4
            assert not request.trailers


async def test_an_app_may_have_no_lifespan():
    async def app(scope, receive, send):
        raise AssertionError("only http")

    async with lifespan(app) as state:
        assert state == {}


async def test_a_startup_that_fails_is_an_error():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(StartupFailed):
        async with lifespan(app):
            pass


async def test_a_runtime_api_that_breaks_off_midway_is_logged_and_the_loop_goes_on(capsys):
    async def app(scope, receive, send):
        await send(START)
        for _ in range(100):
            await send(body(b"x" * 1000, more=True))
            await asyncio.sleep(0.001)
        await send(body())

    records.configure("INFO")
    async with looping(app) as double:
        original, double._body = double._body, _hang_up
        double._events.put_nowait(json.dumps(EVENT).encode())
        while not double.requests:
            await asyncio.sleep(0.01)
        double._body = original
        assert await after_a_failure(double)
        await double.asked_for_the_next()
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outcome"] for line in written if "outcome" in line] == ["runtime_error", "done"]


async def _hang_up(reader, request):
    raise ConnectionResetError


async def test_each_invocation_writes_one_line_with_its_request_id(capsys):
    async with looping(hello) as double:
        await double.invoke(EVENT)
        await double.invoke(EVENT)
        await double.asked_for_the_next()
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["cold_start"] for line in written] == [True, False]
    assert all(line["outcome"] == "done" and line["level"] == "INFO" for line in written)
    assert len({line["requestId"] for line in written}) == 2
    assert written[0]["bytes"] == len(double.requests[0].body)


async def test_an_invocations_line_says_what_the_app_put_into_its_record(capsys):
    async def app(scope, receive, send):
        record = record_of(scope)
        record.type, record.secret_read_failures = "settings", 2
        if scope["path"] == "/":
            record.refused = True
        await hello(scope, receive, send)

    async with looping(app) as double:
        await double.invoke(EVENT)
        await double.invoke(function_url_event(path="/other"))
        await double.asked_for_the_next()
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outcome"] for line in written] == ["refused", "done"]
    assert all(line["type"] == "settings" for line in written)
    assert all(line["SecretReadFailures"] == 2 for line in written)
