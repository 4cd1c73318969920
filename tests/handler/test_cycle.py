"""The ASGI cycle: one test for each way in which an app can behave or misbehave."""

import asyncio
import json
import time

import pytest
from starlette.requests import Request

from handler.runtime.context import Context
from handler.runtime.cycle import DEADLINE, BadEvent, Cycle, State, UnexpectedMessage
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain")],
}


class Recorded:
    """A stream that keeps each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.size = 0
        self.ended = False
        self.paused = False
        self.drained: list[int] = []  # how many writes there were each time

    def write(self, data: bytes) -> None:
        assert data
        assert not self.ended
        self.writes.append(data)

    def end(self) -> None:
        assert not self.ended, "the body ended twice"
        self.ended = True

    async def drain(self) -> None:
        self.drained.append(len(self.writes))

    def fail(self, failure) -> None: ...

    async def accepted(self) -> None: ...


def cycle_of(event=None, seconds=60.0):
    """A cycle with `seconds` left until Lambda's deadline."""
    stream = Recorded()
    context = Context()
    context.deadline_ms = int((time.time() + seconds) * 1000)

    async def open_stream():
        return stream

    return Cycle(event or function_url_event(), context, {}, open_stream), stream


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_prelude_nuls_and_body_go_out_one_by_one_as_they_are_sent():
    cycle, stream = cycle_of()
    await cycle.send(START)
    assert stream.writes == [
        b'{"statusCode": 200, "headers": {"content-type": "text/plain"}}',
        b"\0" * 8,
    ]
    await cycle.send(body(b"a", more=True))
    assert stream.writes[2:] == [b"a"]
    assert not stream.ended
    await cycle.send(body(b"b"))
    assert stream.writes[3:] == [b"b"]
    assert stream.ended
    assert cycle.state is State.COMPLETE


async def test_each_answer_has_its_own_head_however_alike_they_are():
    one, two = [(b"x-of", b"one")], [(b"x-of", memoryview(b"two"))]
    for status, headers in ((200, one), (200, two), (201, one), (200, one)):
        cycle, stream = cycle_of()
        await cycle.send({"type": "http.response.start", "status": status, "headers": headers})
        expected = {"statusCode": status, "headers": {"x-of": bytes(headers[0][1]).decode()}}
        assert json.loads(stream.writes[0]) == expected


async def test_an_app_waits_where_the_other_side_lags_behind():
    cycle, stream = cycle_of()
    await cycle.send(START)
    stream.paused = True
    await cycle.send(body(b"a", more=True))
    stream.paused = False
    await cycle.send(body(b"b", more=True))
    assert stream.drained == [3]


async def test_a_response_that_was_ended_while_its_last_part_went_out_is_not_ended_again():
    cycle, stream = cycle_of()
    await cycle.send(START)
    stream.paused = True

    async def drain():
        assert cycle.close() is State.RESPONSE  # as the loop does, with trailers, at the deadline

    stream.drain = drain
    with pytest.raises(UnexpectedMessage, match="has ended"):
        await cycle.send(body(b"last"))
    assert not stream.ended


async def test_an_event_stream_begins_with_a_comment_at_once():
    cycle, stream = cycle_of()
    kind = (b"Content-Type", b"text/event-stream; charset=utf-8")
    await cycle.send({**START, "headers": [kind]})
    assert stream.writes[2:] == [b":\r\n\r\n"]


async def test_a_compressed_event_stream_gets_no_comment():
    cycle, stream = cycle_of()
    headers = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
    await cycle.send({**START, "headers": headers})
    assert len(stream.writes) == 2


async def test_an_empty_piece_is_not_written_since_an_empty_chunk_would_end_the_body():
    cycle, stream = cycle_of()
    await cycle.send(START)
    await cycle.send(body(b"", more=True))
    assert len(stream.writes) == 2
    assert not stream.ended


async def test_a_memoryview_is_a_body():
    cycle, stream = cycle_of()
    await cycle.send(START)
    await cycle.send(body(memoryview(b"view")))
    assert stream.writes[2:] == [b"view"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_a_response_without_a_body_ends_with_its_head(method, status):
    cycle, stream = cycle_of(function_url_event(method))
    await cycle.send({**START, "status": status})
    assert stream.ended  # before the app says so
    await cycle.send(body(b"dropped", more=True))
    await cycle.send(body())
    assert len(stream.writes) == 2
    assert cycle.state is State.COMPLETE


async def test_cookies_and_repeated_headers_take_lambdas_form():
    cycle, stream = cycle_of()
    headers = [
        (b"set-cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"X-Twice", b"1"),
        (b"x-twice", b"2"),
    ]
    await cycle.send({**START, "status": 201, "headers": headers})
    assert json.loads(stream.writes[0]) == {
        "statusCode": 201,
        "headers": {"x-twice": "1,2"},  # and no content type that the app did not name
        "cookies": ["a=1", "b=2"],
    }


@pytest.mark.parametrize(
    ("before", "message", "words"),
    [
        ([], body(b"x"), "http.response.body is not allowed while REQUEST"),
        ([START], START, "http.response.start is not allowed while RESPONSE"),
        ([START, body(b"x")], body(b"y"), "http.response.body is not allowed while COMPLETE"),
        ([START], {"type": "http.response.trailers"}, "http.response.trailers is not allowed"),
        ([], {"type": "websocket.send"}, "websocket.send is not allowed while REQUEST"),
    ],
)
async def test_an_illegal_message_raises_and_changes_nothing(before, message, words):
    cycle, stream = cycle_of()
    for earlier in before:
        await cycle.send(earlier)
    was = (cycle.state, list(stream.writes), stream.ended)
    with pytest.raises(UnexpectedMessage, match=words):
        await cycle.send(message)
    assert (cycle.state, stream.writes, stream.ended) == was


async def test_receive_gives_the_body_once_and_then_blocks_until_the_response_is_complete():
    cycle, _ = cycle_of(function_url_event(body="hello"))
    assert await cycle.receive() == {"type": "http.request", "body": b"hello", "more_body": False}
    waiting = [asyncio.ensure_future(cycle.receive()) for _ in range(2)]
    await cycle.send(START)
    await cycle.send(body(b"x", more=True))
    await asyncio.sleep(0.01)
    assert not any(each.done() for each in waiting)
    await cycle.send(body())
    assert await asyncio.gather(*waiting) == [{"type": "http.disconnect"}] * 2


async def test_a_response_that_cannot_begin_leaves_the_cycle_where_it_was():
    async def open_stream():
        raise ConnectionRefusedError

    cycle = Cycle(function_url_event(), Context(), {}, open_stream)
    with pytest.raises(ConnectionRefusedError):
        await cycle.send(START)
    assert cycle.state is State.REQUEST
    assert cycle.stream is None


async def test_the_scope_is_mangums_with_the_event_the_context_and_a_state():
    event = function_url_event(
        "POST", "/echo", {"X-Header": "1"}, '{"a": 1}', cookies=["c=1", "d=2"]
    )
    cycle, _ = cycle_of(event)
    scope = cycle.scope
    assert (scope["type"], scope["method"], scope["path"]) == ("http", "POST", "/echo")
    assert [b"x-header", b"1"] in scope["headers"]
    assert [b"cookie", b"c=1; d=2"] in scope["headers"]
    assert scope["client"][0] == "192.0.2.1"
    assert scope["aws.event"] is event
    assert 0 < scope["aws.context"].get_remaining_time_in_millis() <= 60_000
    assert scope["state"] == {}


DOMAIN = "abc.lambda-url.eu-west-1.on.aws"


@pytest.mark.parametrize(
    ("headers", "server", "url"),
    [
        ({"host": "bot.example"}, ("bot.example", 443), "https://bot.example/a"),
        ({"host": "bot.example:8080"}, ("bot.example", 8080), "https://bot.example:8080/a"),
        ({"host": "[::1]:8080"}, ("::1", 8080), "https://[::1]:8080/a"),
        ({"host": "[::1]"}, ("::1", 443), "https://[::1]/a"),
        (
            {"host": "bot.example", "x-forwarded-proto": "http"},
            ("bot.example", 80),
            "http://bot.example/a",
        ),
        (
            {"host": "bot.example", "x-forwarded-port": "8443"},
            ("bot.example", 8443),
            "https://bot.example/a",
        ),
        # A request isn't refused for what isn't a host or a port.
        ({"host": "bot.example", "x-forwarded-port": "x"}, ("bot.example", 443), None),
        ({"host": "bot.example:port"}, (DOMAIN, 443), None),
        ({"host": "a:b:c"}, (DOMAIN, 443), None),
        ({"host": "bot.example:65536"}, (DOMAIN, 443), f"https://{DOMAIN}/a"),
        ({"host": "bot.example:"}, ("bot.example", 443), None),
        ({"host": "[:::]"}, (DOMAIN, 443), f"https://{DOMAIN}/a"),
        ({"host": "[::1]:x"}, (DOMAIN, 443), f"https://{DOMAIN}/a"),
        ({"host": "::1"}, (DOMAIN, 443), None),
        ({}, (DOMAIN, 443), f"https://{DOMAIN}/a"),
    ],
)
async def test_any_host_reaches_the_app(headers, server, url):
    event = function_url_event("GET", "/a")
    event["headers"] = headers
    event["requestContext"]["domainName"] = DOMAIN
    scope = cycle_of(event)[0].scope
    assert scope["server"] == server
    got = {name.decode(): value.decode() for name, value in scope["headers"]}
    assert got == headers
    if url:
        assert str(Request(scope).url) == url


async def test_without_a_host_and_a_domain_there_is_no_server():
    event = function_url_event()
    event["headers"] = {}
    event["requestContext"].pop("domainName", None)
    assert cycle_of(event)[0].scope["server"] is None


async def test_an_odd_host_gets_its_answer():
    async def app(scope, receive, send):
        await send(START)
        await send(body(b"hello"))

    cycle, stream = cycle_of(function_url_event(headers={"host": "[::1]:x"}))
    assert await cycle.run(app) is None
    assert stream.ended


async def test_the_raw_path_has_the_escapes_that_the_path_has_not():
    scope = cycle_of(function_url_event("GET", "/a%20b%2Fc/%C3%A9"))[0].scope
    assert scope["raw_path"] == b"/a%20b%2Fc/%C3%A9"
    assert scope["path"] == "/a b/c/é"


@pytest.mark.parametrize("broken", [{"headers": ["x"]}, {"headers": {"host": 1}}, {"cookies": [1]}])
async def test_what_mangum_cannot_read_is_a_bad_event(broken):
    with pytest.raises(BadEvent):
        cycle_of({**function_url_event(), **broken})


async def test_a_body_is_not_looked_at_unless_the_app_asks_for_it():
    async def app(scope, receive, send):
        await send(START)
        await send(body(b"hello"))

    cycle, stream = cycle_of(function_url_event(body="!!!!", isBase64Encoded=True))
    assert await cycle.run(app) is None
    assert stream.ended


@pytest.mark.parametrize("begun", [False, True])
async def test_a_body_that_is_malformed_is_a_bad_event_unless_a_response_has_begun(begun):
    async def app(scope, receive, send):
        if begun:
            await send(START)
        await receive()

    cycle, _ = cycle_of(function_url_event(body="!!!!", isBase64Encoded=True))
    if begun:
        assert (await cycle.run(app)).type == "BadEvent"
    else:
        with pytest.raises(BadEvent, match="base64"):
            await cycle.run(app)


# --- running an app ----------------------------------------------------------------------------


async def test_an_app_that_answers_has_not_failed():
    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        await send(START)
        await send(body(b"hello"))

    cycle, stream = cycle_of()
    assert await cycle.run(app) is None
    assert stream.ended


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
async def test_whatever_an_app_raises_is_a_failure_without_its_text(error):
    async def app(scope, receive, send):
        raise error("a user's message")

    cycle, _ = cycle_of()
    failure = await cycle.run(app)
    assert failure.type == error.__name__
    assert "a user's message" not in str(failure)
    assert any("in app" in place for place in failure.stack)


@pytest.mark.parametrize("messages", [[], [START], [START, body(b"half", more=True)]])
async def test_an_app_that_returns_too_early_has_failed(messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    cycle, _ = cycle_of()
    assert (await cycle.run(app)).type == "IncompleteResponse"


async def test_an_app_is_cancelled_before_lambdas_deadline():
    ended = []

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(scope["aws.context"].get_remaining_time_in_millis())

    cycle, _ = cycle_of(seconds=0.8)
    assert await cycle.run(app) is DEADLINE
    assert ended[0] > 0


async def test_an_app_that_answers_although_it_was_cancelled_has_not_failed():
    async def app(scope, receive, send):
        await send(START)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send(body(b"hello"))

    cycle, stream = cycle_of(seconds=0.8)
    assert await cycle.run(app) is None
    assert stream.ended
