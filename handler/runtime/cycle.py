"""One invocation as one ASGI request: the event becomes scope and body, every message bytes.

Mangum knows a Function URL's events and headers; it buffers a whole body before it returns, so the
cycle of receive and send is our own. Source: the ASGI specification, HTTP & WebSocket, 2.x.
"""

import asyncio
import enum
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Protocol

from mangum.types import LambdaContext
from starlette.types import ASGIApp, Message

from handler.log.errors import stack_of
from handler.runtime import deadlines, wire
from handler.runtime.request_scope import RESPONSES, scope_of
from handler.runtime.wire import BadEvent, Failure

logger = logging.getLogger(__name__)

RawHeaders = tuple[tuple[bytes, bytes], ...]

BODYLESS_STATUS = {204, 304}  # RFC 9110, 15.3.5 and 15.4.5
# Function URLs have been seen to hold a head, or a first small piece of body, until more follows;
# Poe counts 5 s to the first byte. A comment isn't an event (HTML standard, 9.2.6).
FIRST_COMMENT = b":\r\n\r\n"
DEADLINE = Failure("Deadline", "the bot was not done before the function's deadline")


class UnexpectedMessage(Exception):
    """An ASGI message that the state does not allow. It changed nothing."""


class State(enum.Enum):
    """How far the response is.

    * REQUEST: nothing is sent; a failure can still be reported as one.
    * RESPONSE: the head is out; only trailers can report a failure.
    * DISCARD: a response without a body is out, whole; a body that the app still sends is dropped.
    * COMPLETE: the last byte is out; what fails now is logged.
    """

    REQUEST = enum.auto()
    RESPONSE = enum.auto()
    DISCARD = enum.auto()
    COMPLETE = enum.auto()


class Stream(Protocol):
    """Where the bytes go: `runtime_api.ResponseStream`, or a list in a test."""

    size: int  # bytes written

    @property
    def paused(self) -> bool: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def end(self) -> None: ...
    def fail(self, failure: Failure) -> None: ...
    def fail_now(self, failure: Failure) -> socket.socket: ...
    async def accepted(self) -> bool: ...


class Cycle:
    """One request and its response.

    `event` is a Function URL's (see `wire.parse_event`), `state` the request's own copy of the
    lifespan's, `open_stream` is called once, when the app starts its response. Raises `BadEvent`
    for an event that Mangum cannot read. The body is decoded when the app asks for it: a caller
    without the key is refused before.
    """

    def __init__(
        self,
        event: dict[str, Any],
        context: LambdaContext,
        state: dict[str, Any],
        open_stream: Callable[[], Awaitable[Stream]],
    ) -> None:
        self._event: dict[str, Any] | None = event  # until its body is read
        self._context = context
        try:
            self.scope = scope_of(event, context)
        except Exception as error:
            raise BadEvent("the event's request is malformed") from error
        self.scope["state"] = state
        self.state = State.REQUEST
        self.stream: Stream | None = None  # once the response has begun
        self.status = 0
        self._open_stream = open_stream
        self._completed = asyncio.Event()
        self.left_behind: asyncio.Task[BaseException | None] | None = None
        """The app, where it swallows its cancellation."""

    async def run(self, app: ASGIApp, *, hidden: bool = False) -> Failure | None:
        """Run the app to its end, or until the deadline is near. Gives what went wrong, if
        anything did. Raises `BadEvent` if the app ended at the body's, without a response. An app
        that doesn't let go is left behind.

        In a task of its own, as any ASGI server does: a context variable that a bot sets, or a
        cancellation that comes when its answer is over, must not reach the next one's user. A
        `hidden` one isn't in `asyncio.all_tasks()`: another request's bot may cancel all of those.
        """
        remaining = self._context.get_remaining_time_in_millis() / 1000
        task = asyncio.create_task(_result_of(app(self.scope, self.receive, self.send)))
        if hidden:
            asyncio._unregister_task(task)
        try:
            done, _ = await asyncio.wait([task], timeout=deadlines.request_seconds(remaining))
            if not done:
                task.cancel()
                await asyncio.wait([task], timeout=deadlines.CLEAN_UP)
        finally:
            task.cancel()
        if not task.done():
            self.left_behind = task
            return DEADLINE
        error = task.result()
        if isinstance(error, BadEvent) and self.state is State.REQUEST:
            raise error
        if error is not None:
            logger.error("the ASGI app failed", exc_info=error)
            if not done:
                return DEADLINE
            kind = type(error).__name__
            return Failure(kind, f"the bot failed ({kind}): see the log", stack_of(error))
        if self.state in (State.REQUEST, State.RESPONSE):
            logger.error("the ASGI app returned while its response was in %s", self.state.name)
            return Failure("IncompleteResponse", "the bot returned before its response was whole")
        return None

    async def receive(self) -> Message:
        if self._event is not None:
            event, self._event = self._event, None
            return {"type": "http.request", "body": wire.read_body(event), "more_body": False}
        # Block until the response is complete: sse-starlette takes a disconnect as "stop now",
        # and asks again and again while it gets empty requests.
        await self._completed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind, state = message["type"], self.state
        if kind == "http.response.body" and state is State.RESPONSE:  # first: it is every event
            stream, body = self.stream, message.get("body", b"")
            assert stream, "opened when the response began"
            if body:
                stream.write(bytes(body))
                if stream.paused:
                    await stream.drain()
            if not message.get("more_body", False):
                if self.state is not State.RESPONSE:  # a client that lags, and time was up
                    raise UnexpectedMessage("the response has ended while its last part went out")
                stream.end()
                self._complete()
        elif kind == "http.response.start" and state is State.REQUEST:
            await self._start(message)
        elif kind == "http.response.body" and state is State.DISCARD:
            if not message.get("more_body", False):
                self._complete()
        else:
            raise UnexpectedMessage(f"{kind} is not allowed while {state.name}")

    def close(self) -> State:
        """Take no further messages: an app that was left behind may still send some. Gives how
        far the response came."""
        state = self.state
        self._complete()
        return state

    def _complete(self) -> None:
        self.state = State.COMPLETE
        self._completed.set()

    async def _start(self, message: Message) -> None:
        status = message["status"]
        headers = tuple((bytes(name), bytes(value)) for name, value in message.get("headers", []))
        prelude = _prelude(status, headers)
        stream = await self._open_stream()
        if self.state is not State.REQUEST:
            raise UnexpectedMessage("the response has ended while it began")
        self.stream, self.state, self.status = stream, State.RESPONSE, status
        # Each in a write, and so in a frame, of its own: some fronts wait for the next one when
        # the NULs and the first bytes of the body come together.
        stream.write(prelude)
        stream.write(wire.PRELUDE_END)
        if self.scope["method"] == "HEAD" or status in BODYLESS_STATUS:
            stream.end()
            self.state = State.DISCARD
        elif _is_event_stream(headers):
            stream.write(FIRST_COMMENT)


async def _result_of(app: Awaitable[None]) -> BaseException | None:
    """What `app` raises. Nothing may get out of its task: a `SystemExit` would end the loop."""
    try:
        await app
    except BaseException as error:
        return error
    return None


# Nearly all answers have the same headers, and Mangum takes its time over them.
@lru_cache(maxsize=4)
def _prelude(status: int, headers: RawHeaders) -> bytes:
    # ASGI's values are latin-1, as HTTP's are; Mangum reads them as UTF-8.
    decoded = [[name, value.decode("latin-1").encode()] for name, value in headers]
    response = RESPONSES({"status": status, "headers": decoded, "body": b""})
    out = dict(response.get("headers", {}))
    if not any(name.lower() == b"content-type" for name, _ in headers):
        out.pop("content-type", None)  # Mangum's own guess, of a body that it has not seen
    return wire.encode_prelude(status, out, response.get("cookies"))


@lru_cache(maxsize=4)
def _is_event_stream(headers: RawHeaders) -> bool:
    values = {name.lower(): value for name, value in headers}
    return (
        values.get(b"content-type", b"").startswith(b"text/event-stream")
        and b"content-encoding" not in values
        and b"content-length" not in values  # which the comment would make untrue
    )
